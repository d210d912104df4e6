/** What the tests of the HTTP client share. */

import { fastSockets } from "../src/deno/fast_sockets.ts";
import type { ConnectorOptions } from "../src/machine/network/connector.ts";
import { createHttpClient } from "../src/machine/network/http_client.ts";
import { nodeSockets } from "../src/machine/network/node_sockets.ts";
import type { Fetch, FetchInit } from "../src/registry/fetch.ts";
import type { Line } from "./tls_servers.ts";

/** Bytes of a MiB. */
export const MIB = 1024 * 1024;
/** An answer that leaves its connection open. */
export const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/** Bytes of which no two places near each other are alike. */
export function pattern(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Uint32Array(size / 4).map((_, index) => index * 2654435761).buffer);
}

/** Whether two runs of bytes are the same; `assertEquals` takes seconds for some MiB. */
export function isSame(some: Uint8Array, others: Uint8Array): boolean {
  return some.length === others.length && some.every((byte, index) => byte === others[index]);
}

/** Every way of opening connections: Deno's own, those of `node:` builtins, and with any certificate. */
export const WAYS: readonly Pick<ConnectorOptions, "sockets" | "isInsecure">[] = [
  { sockets: fastSockets(nodeSockets) },
  { sockets: nodeSockets },
  { sockets: fastSockets(nodeSockets), isInsecure: true },
  { sockets: nodeSockets, isInsecure: true },
];

/** Runs a test with a fetch of each kind, which is closed afterwards. */
export async function withFetch(
  test: (fetch: Fetch, close: () => void) => Promise<void>,
  options: Partial<ConnectorOptions> = {},
): Promise<void> {
  for (const way of WAYS) {
    const { fetch, close } = createHttpClient({ ...way, ...options });
    try {
      await test(fetch, close);
    } finally {
      close();
    }
  }
}

/** A stream that never ends. */
export interface Endless {
  /** The stream. */
  stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Settled with the reason when somebody lets go of it. */
  cancelled: Promise<unknown>;
  /** Bytes taken from it. */
  taken: number;
}

/** A stream that gives 64 KiB whenever it is asked. */
export function endless(): Endless {
  const { promise: cancelled, resolve } = Promise.withResolvers<unknown>();
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull: (controller) => {
      result.taken += 64 * 1024;
      controller.enqueue(new Uint8Array(64 * 1024));
    },
    cancel: resolve,
  }, { highWaterMark: 0 });
  const result: Endless = { stream, cancelled, taken: 0 };
  return result;
}

/** An upload of a stream, announced to be so many bytes. */
export function upload(body: ReadableStream<Uint8Array<ArrayBuffer>>, length: number): FetchInit {
  return { method: "PUT", body, headers: { "content-length": String(length) } };
}

/** Reads until the other side closes; returns how many bytes came. */
export async function drain(line: Line): Promise<number> {
  let count = 0;
  for (let bytes = await line.read(); bytes !== undefined; bytes = await line.read()) count += bytes.length;
  return count;
}

/** A script that answers every request with the number of its connection. */
export async function tellNumber(line: Line, index: number): Promise<void> {
  while (await line.readHead() !== undefined) {
    await line.write(`HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n${index}`);
  }
}

/** The text at a URL. */
export async function textOf(fetch: Fetch, url: string, init: FetchInit = {}): Promise<string> {
  return await (await fetch(url, init)).text();
}
