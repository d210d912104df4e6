/** What the benchmark's proxy counts of one side: requests by kind, bytes, connections, blobs read and stored. */

import { parseRoute } from "../registry/route.ts";

/** What was counted on one side; plain JSON. */
export interface Tally {
  /** Requests by `METHOD kind`, for example `GET blob`; those that were refused for want of a token end in ` 401`. */
  requests: Record<string, number>;
  /** Connections that were opened. */
  connections: number;
  /** Bytes of request bodies. */
  bytesIn: number;
  /** Bytes of answers' bodies. */
  bytesOut: number;
  /** Blobs that were read, each time. */
  blobsRead: number;
  /** Blobs that were read, each once. */
  blobsReadOnce: number;
  /** Blobs whose upload was finished, each time. */
  blobsStored: number;
  /** Blobs whose upload was finished, each once. */
  blobsStoredOnce: number;
  /** Blobs that were mounted. */
  mounts: number;
  /** When the first connection was opened, in milliseconds since 1970 with fractions. */
  firstConnectionAt?: number;
}

/** One request under way. */
export interface CountedRequest {
  /** Its method. */
  readonly method: string;
  /** Its path with the query. */
  readonly url: URL;
  /** Notes how it was answered. */
  end(status: number): void;
}

/** Counts one side. */
export class Counter {
  #tally = emptyTally();
  #read = new Set<string>();
  #stored = new Set<string>();

  /** What was counted since the last call. */
  take(): Tally {
    const tally = { ...this.#tally, blobsReadOnce: this.#read.size, blobsStoredOnce: this.#stored.size };
    this.#tally = emptyTally();
    this.#read.clear();
    this.#stored.clear();
    return tally;
  }

  /** A connection was opened. */
  connect(): void {
    this.#tally.connections++;
    this.#tally.firstConnectionAt ??= performance.timeOrigin + performance.now();
  }

  /** Bytes of request bodies passed. */
  readonly addIn = (bytes: number): void => {
    this.#tally.bytesIn += bytes;
  };

  /** Bytes of answers' bodies passed. */
  readonly addOut = (bytes: number): void => {
    this.#tally.bytesOut += bytes;
  };

  /** A request begins with this request line. */
  begin(line: string): CountedRequest {
    const [method = "", target = "/"] = line.split(" ");
    const url = new URL(target, "http://proxy.test");
    return { method, url, end: (status) => this.#end(method, url, status) };
  }

  #end(method: string, url: URL, status: number): void {
    const { kind, reference } = parseRoute(url.pathname);
    const isMount = method === "POST" && url.searchParams.has("mount");
    const key = `${method} ${isMount ? "mount" : kind}${status === 401 ? " 401" : ""}`;
    this.#tally.requests[key] = (this.#tally.requests[key] ?? 0) + 1;
    if (kind === "blob" && method === "GET" && status < 300) {
      this.#tally.blobsRead++;
      this.#read.add(reference);
    }
    if (isMount && status === 201) this.#tally.mounts++;
    else if (kind === "upload" && status === 201 && method !== "PATCH") {
      this.#tally.blobsStored++;
      this.#stored.add(url.searchParams.get("digest") ?? "");
    }
  }
}

/** Nothing counted yet. */
export function emptyTally(): Tally {
  return {
    requests: {},
    connections: 0,
    bytesIn: 0,
    bytesOut: 0,
    blobsRead: 0,
    blobsReadOnce: 0,
    blobsStored: 0,
    blobsStoredOnce: 0,
    mounts: 0,
  };
}

/** All requests of a tally. */
export function countRequests(tally: Tally | undefined): number {
  return Object.values(tally?.requests ?? {}).reduce((sum, count) => sum + count, 0);
}
