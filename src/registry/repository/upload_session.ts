/** Step 2 of the walk, the wire: where an upload goes on, and how far it is. */

/** A place in a registry that takes a blob (OCI distribution-spec 1.1, Pushing blobs). */
export interface UploadSession {
  /** Where to send the bytes; changes with every answer. */
  location: string;
  /** Bytes a chunk must at least have, if the registry says so (`OCI-Chunk-Min-Length`). */
  chunkMinimum: number | undefined;
}

/** What became of asking for an upload. */
export type UploadOpening = { type: "mounted" } | { type: "stored" } | {
  type: "opened";
  session: UploadSession;
};

/** How an upload is asked for. */
export interface OpenUploadOptions {
  /** A repository of the same registry that holds the blob, to mount it from. */
  mountFrom?: string | undefined;
  /** The blob itself, for a registry that takes it at once; others open an upload. */
  bytes?: Uint8Array<ArrayBuffer> | undefined;
  /** Attempts it gets, where they differ from the limit. */
  attempts?: number | undefined;
  /** Ends the request. */
  signal?: AbortSignal | undefined;
}

/**
 * The URL of a `Location` of an upload. A registry behind a proxy may name itself with the wrong scheme or without its port; at
 * another host only TLS is taken, unless the registry itself has none. Credentials go along only to the registry's own origin.
 *
 * @param location Value of the header.
 * @param base Root of the registry.
 * @param from URL of the answer, which a relative location is relative to; the root unless told.
 * @throws {SyntaxError} when the upload cannot go there.
 */
export function resolveLocation(location: string | null, base: URL, from?: string): string {
  if (location === null) throw new SyntaxError("the answer does not say where to upload to");
  if (!URL.canParse(location, from ?? base.href)) throw new SyntaxError("where to upload to is not a URL");
  const url = new URL(location, from ?? base);
  if (url.username !== "" || url.password !== "") {
    throw new SyntaxError("where to upload to has a user name in it");
  }
  if (url.hostname === base.hostname && url.protocol !== base.protocol && isSameServer(url, base)) {
    url.protocol = base.protocol;
    url.port = base.port;
  }
  const isAllowed = url.protocol === "https:" || url.protocol === "http:" && base.protocol === "http:";
  if (!isAllowed) throw new SyntaxError("it wants the upload to go on without TLS");
  url.hash = "";
  url.search = "";
  // The query stays as it is written: it may be signed, and `URL` spells some characters otherwise.
  return `${url.href}${/\?[^#]*/.exec(location)?.[0] ?? ""}`;
}

/** With TLS an answer that names the registry without it is never followed; without TLS, its name with it may be another server. */
function isSameServer(url: URL, base: URL): boolean {
  if (base.protocol === "https:") return url.protocol === "http:";
  return url.protocol === "https:" && (url.port === "" || url.port === base.port);
}

/** Bytes a `Range` header of an upload says have arrived: `0-9` are ten, `0-0` one or, at many registries, none. */
export function parseUploadRange(header: string | null): number | undefined {
  const match = /^(?:bytes=)?0-(\d{1,15})$/.exec(header?.trim() ?? "");
  if (match === null) return undefined;
  const last = Number(match[1]);
  return last === 0 ? 0 : last + 1;
}
