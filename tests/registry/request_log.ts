/** The test registry's memory of the requests it got. */

/** Which endpoint a request is for. */
export type RequestKind =
  | "ping"
  | "token"
  | "tags"
  | "manifest"
  | "blob"
  | "upload"
  | "referrers"
  | "unknown";

/** One request as the registry saw it. */
export interface RequestEntry {
  /** HTTP method. */
  method: string;
  /** Path with its query. */
  path: string;
  /** Which endpoint it was for. */
  kind: RequestKind;
  /** The repository, empty for pings and tokens. */
  repository: string;
  /** Status of the answer; 0 until there is one, and where the request broke off. */
  status: number;
  /** Bytes of the request's body that were read. */
  bytesIn: number;
  /** Bytes of the answer's body that were taken by the client. */
  bytesOut: number;
  /** Scheme of the Authorization header. */
  authorization: "none" | "basic" | "bearer" | "other";
  /** The Content-Length header that arrived, in bytes. */
  contentLength?: number;
  /** The Transfer-Encoding header that arrived. */
  transferEncoding?: string;
  /** The Range header that arrived. */
  range?: string;
}

/** Which entries to count; what is left out matches all. */
export interface RequestFilter {
  /** HTTP method. */
  method?: string;
  /** Endpoint. */
  kind?: RequestKind;
  /** Repository. */
  repository?: string;
  /** Status of the answer. */
  status?: number;
}

/** Whether an entry is one of those asked for. */
export function matchesFilter(entry: RequestEntry, filter: RequestFilter): boolean {
  return (filter.method === undefined || filter.method === entry.method) &&
    (filter.kind === undefined || filter.kind === entry.kind) &&
    (filter.repository === undefined || filter.repository === entry.repository) &&
    (filter.status === undefined || filter.status === entry.status);
}

/** A log entry for a request that has just arrived. */
export function createEntry(
  request: Request,
  route: { kind: RequestKind; repository: string },
): RequestEntry {
  const url = new URL(request.url);
  const entry: RequestEntry = {
    method: request.method,
    path: url.pathname + url.search,
    kind: route.kind,
    repository: route.repository,
    status: 0,
    bytesIn: 0,
    bytesOut: 0,
    authorization: authorizationScheme(request.headers.get("authorization")),
  };
  const length = request.headers.get("content-length");
  if (length !== null) entry.contentLength = Number(length);
  const encoding = request.headers.get("transfer-encoding");
  if (encoding !== null) entry.transferEncoding = encoding;
  const range = request.headers.get("range");
  if (range !== null) entry.range = range;
  return entry;
}

function authorizationScheme(header: string | null): RequestEntry["authorization"] {
  if (header === null) return "none";
  const scheme = header.slice(0, header.indexOf(" ")).toLowerCase();
  return scheme === "basic" || scheme === "bearer" ? scheme : "other";
}
