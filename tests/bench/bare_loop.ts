/**
 * The least that copying large layers in Deno can cost: each layer read from one socket into a buffer and written to another from
 * it, and hashed in between where that is asked for. No progress, no stall detection, no resume, no streams.
 *
 *     deno run -A tests/bench/bare_loop.ts SOURCE DESTINATION REPOSITORY TAG [--verify]
 */

import { createHash } from "node:crypto";

/** Bytes read at once. */
const PIECE = 1024 * 1024;
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

interface Layer {
  digest: string;
  size: number;
}

const [source = "", destination = "", repository = "", tag = ""] = Deno.args;
const isVerifying = Deno.args.includes("--verify");

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let offset = 0; offset < bytes.length;) offset += await connection.write(bytes.subarray(offset));
}

/** Opens a connection and sends the head of a request. */
async function ask(host: string, lines: readonly string[]): Promise<Deno.Conn> {
  const [hostname = "", port] = host.split(":");
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const head = [lines[0], `host: ${host}`, ...lines.slice(1), "connection: close", "", ""].join("\r\n");
  await writeAll(connection, new TextEncoder().encode(head));
  return connection;
}

/** Reads the head of an answer; returns what came after it. */
async function readHead(connection: Deno.Conn, status: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(64 * 1024);
  for (let length = 0; length < buffer.length;) {
    const count = await connection.read(buffer.subarray(length));
    if (count === null) break;
    length += count;
    const text = new TextDecoder("latin1").decode(buffer.subarray(0, length));
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) continue;
    if (!text.startsWith(`HTTP/1.1 ${status} `)) throw new Error(text.slice(0, end));
    return buffer.slice(end + 4, length);
  }
  throw new Error("the connection was closed");
}

async function openUpload({ digest }: Layer): Promise<URL> {
  const response = await fetch(`http://${destination}/v2/${repository}/blobs/uploads/`, { method: "POST" });
  await response.body?.cancel();
  const url = new URL(response.headers.get("location") ?? "", response.url);
  url.searchParams.set("digest", digest);
  return url;
}

async function copyLayer(layer: Layer): Promise<void> {
  const { digest, size } = layer;
  const url = await openUpload(layer);
  const from = await ask(source, [`GET /v2/${repository}/blobs/${digest} HTTP/1.1`]);
  const to = await ask(destination, [`PUT ${url.pathname}${url.search} HTTP/1.1`, `content-length: ${size}`]);
  await pump(from, to, layer);
  await readHead(to, 201);
  from.close();
  to.close();
}

/** The next piece is read while the last one is written. */
async function pump(from: Deno.Conn, to: Deno.Conn, { digest, size }: Layer): Promise<void> {
  const hash = isVerifying ? createHash("sha256") : undefined;
  const buffers = [new Uint8Array(PIECE), new Uint8Array(PIECE)];
  let piece = await readHead(from, 200);
  let left = size;
  for (let turn = 0;; turn++) {
    hash?.update(piece);
    left -= piece.length;
    const writing = writeAll(to, piece);
    if (left === 0) {
      await writing;
      break;
    }
    const buffer = buffers[turn % 2] ?? new Uint8Array(PIECE);
    const [count] = await Promise.all([from.read(buffer), writing]);
    if (count === null) throw new Error("the connection was closed");
    piece = buffer.subarray(0, count);
  }
  if (hash !== undefined && `sha256:${hash.digest("hex")}` !== digest) throw new Error("wrong digest");
}

const base = `/v2/${repository}/manifests/${tag}`;
const manifest = await (await fetch(`http://${source}${base}`, { headers: { accept: MANIFEST } })).bytes();
const { config, layers }: { config: Layer; layers: Layer[] } = JSON.parse(new TextDecoder().decode(manifest));
await Promise.all([config, ...layers].map(copyLayer));
const response = await fetch(`http://${destination}${base}`, {
  method: "PUT",
  body: manifest,
  headers: { "content-type": MANIFEST },
});
await response.body?.cancel();
if (!response.ok) throw new Error(`the manifest got ${response.status}`);
