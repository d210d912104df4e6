/** Tests of the benchmark's proxy at the wire: what it miscounts or breaks would be blamed on the tools. */

import { assertEquals } from "@std/assert";
import { answerLength, requestLength, statusOf, WireReader, writeAll } from "./http_wire.ts";
import { median } from "./samples.ts";
import { TokenDesk } from "./token_desk.ts";

const encoder = new TextEncoder();

/** Two ends of one connection on loopback. */
async function connectPair(): Promise<[Deno.TcpConn, Deno.TcpConn]> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return await Promise.all([
    listener.accept(),
    Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
  ]);
}

/** Sends a text to a reader and passes its first message on; what arrives, and how many bytes of body were counted. */
async function passOn(text: string, isAnswer: boolean): Promise<{ passed: string; counted: number }> {
  const [source, sender] = await connectPair();
  const [target, receiver] = await connectPair();
  using _source = source;
  using _receiver = receiver;
  await writeAll(sender, encoder.encode(text));
  sender.close();
  const reader = new WireReader(source);
  const head = await reader.head();
  let counted = 0;
  if (head !== undefined) {
    const length = isAnswer ? answerLength(head, "GET") : requestLength(head);
    await reader.forward(head.raw, length, target, (bytes) => counted += bytes);
  }
  target.close();
  return { passed: await new Response(receiver.readable).text(), counted };
}

Deno.test("WireReader.forward() passes on a body with a length, and nothing of the next message", async () => {
  const first = "PUT /v2/a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
  const { passed, counted } = await passOn(`${first}GET / HTTP/1.1\r\n\r\n`, false);
  assertEquals(passed, first);
  assertEquals(counted, 5);
});

Deno.test("WireReader.forward() passes chunks on as they are, with their trailers", async () => {
  const first =
    "PATCH /v2/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\nx: y\r\n\r\n";
  const { passed, counted } = await passOn(`${first}GET / HTTP/1.1\r\n\r\n`, false);
  assertEquals(passed, first);
  assertEquals(counted, 8);
});

Deno.test("WireReader.forward() passes an answer without a length on to the end of the connection", async () => {
  const text = "HTTP/1.1 200 OK\r\n\r\nall there is";
  assertEquals(await passOn(text, true), { passed: text, counted: 12 });
});

Deno.test("WireReader.head() refuses TLS in plain HTTP, as Go's server does", async () => {
  const [source, sender] = await connectPair();
  using _sender = sender;
  await writeAll(sender, new Uint8Array([22, 3, 1, 2, 0]));
  assertEquals(await new WireReader(source).head(), undefined);
  source.close();
  assertEquals((await new Response(sender.readable).text()).split("\r\n")[0], "HTTP/1.1 400 Bad Request");
});

Deno.test("answerLength() knows the answers that have no body", () => {
  const head = (status: number) => ({
    line: `HTTP/1.1 ${status} X`,
    fields: new Map([["content-length", "7"]]),
    raw: new Uint8Array(),
  });
  assertEquals(statusOf(head(204)), 204);
  assertEquals(answerLength(head(200), "HEAD"), 0);
  assertEquals(answerLength(head(204), "PUT"), 0);
  assertEquals(answerLength(head(200), "GET"), 7);
});

Deno.test("TokenDesk.lackOf() names the scopes a request lacks, those of a mount's source as well", () => {
  const desk = new TokenDesk();
  const url = new URL("http://registry.test/v2/b/blobs/uploads/?mount=sha256:0&from=a");
  assertEquals(desk.lackOf("POST", url, undefined), ["repository:b:pull,push", "repository:a:pull"]);
  const token = desk.issue(["repository:b:pull,push", "repository:a:pull"]);
  assertEquals(desk.lackOf("POST", url, `Bearer ${token}`), undefined);
  assertEquals(desk.lackOf("HEAD", new URL("http://registry.test/v2/c/manifests/x"), `Bearer ${token}`), [
    "repository:c:pull",
  ]);
});

Deno.test("median() is the middle, or the mean of the two in the middle", () => {
  assertEquals(median([3, 1, 2]), 2);
  assertEquals(median([4, 1, 2, 3]), 2.5);
  assertEquals(median([]), undefined);
});
