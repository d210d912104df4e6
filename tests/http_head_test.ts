/** Heads of HTTP/1.1: what is written, what is understood, and what is refused. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  formatRequestHead,
  type Framing,
  framingOf,
  HttpSyntaxError,
  parseChunkSize,
  parseResponseHead,
} from "../src/machine/network/http_head.ts";

function format(method: string, url: string, headers: Record<string, string> = {}): string {
  const { pathname, search, host } = new URL(url);
  const bytes = formatRequestHead(method, { target: pathname + search, host }, new Headers(headers));
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

/** The framing of an answer with some fields. */
function frame(method: string, status: number, ...fields: string[]): Framing {
  return framingOf(method, parseResponseHead([`HTTP/1.1 ${status} Words`, ...fields]));
}

Deno.test("formatRequestHead() asks the host for the path with its query, and keeps the fields", () => {
  assertEquals(
    format("PUT", "http://reg.test/v2/a/b?digest=sha256%3Aff&n=1#part", { Range: "bytes=3-", accept: "a/b" }),
    "PUT /v2/a/b?digest=sha256%3Aff&n=1 HTTP/1.1\r\nhost: reg.test\r\naccept: a/b\r\nrange: bytes=3-\r\n\r\n",
  );
  assertEquals(format("GET", "https://reg.test"), "GET / HTTP/1.1\r\nhost: reg.test\r\n\r\n");
});

Deno.test("fault 61: formatRequestHead() spells a query as it is given", () => {
  const target = { target: "/v2/a/blobs/uploads/1?k='q'&digest=x", host: "reg.test" };
  const head = new TextDecoder().decode(formatRequestHead("PUT", target, new Headers()));
  assertEquals(head, "PUT /v2/a/blobs/uploads/1?k='q'&digest=x HTTP/1.1\r\nhost: reg.test\r\n\r\n");
});

Deno.test("formatRequestHead() names a port where it is not the usual one", () => {
  const hostOf = (url: string) => format("GET", url).split("\r\n")[1];
  assertEquals(hostOf("https://reg.test:443/"), "host: reg.test");
  assertEquals(hostOf("http://reg.test:443/"), "host: reg.test:443");
  assertEquals(hostOf("https://[fd00::1]:5000/"), "host: [fd00::1]:5000");
});

Deno.test("formatRequestHead() lets nobody else say where a request goes and how", () => {
  const fields = { Connection: "close", Host: "evil.test", "Transfer-Encoding": "chunked", accept: "a/b" };
  assertEquals(
    format("GET", "http://reg.test/", fields),
    "GET / HTTP/1.1\r\nhost: reg.test\r\naccept: a/b\r\n\r\n",
  );
});

Deno.test("formatRequestHead() writes each character of a value as one byte", () => {
  const bytes = formatRequestHead(
    "GET",
    { target: "/", host: "reg.test" },
    new Headers({ "x-name": "caf\xe9" }),
  );
  assertEquals([...bytes.slice(-8)], [0x63, 0x61, 0x66, 0xe9, 0x0d, 0x0a, 0x0d, 0x0a]);
});

Deno.test("parseResponseHead() understands the status, its words and the fields", () => {
  const fields = ["Content-Length:5", "WWW-Authenticate:  Basic \t", "www-authenticate: Bearer", "empty:"];
  const { status, statusText, headers } = parseResponseHead(["HTTP/1.1 203 Fine  Enough", ...fields]);
  assertEquals([status, statusText], [203, "Fine  Enough"]);
  assertEquals([...headers], [
    ["content-length", "5"],
    ["empty", ""],
    ["www-authenticate", "Basic, Bearer"],
  ]);
});

Deno.test("parseResponseHead() takes a status without words, and words that are not English", () => {
  const wordsOf = (line: string) => parseResponseHead([line]).statusText;
  assertEquals(wordsOf("HTTP/1.1 200 "), "");
  assertEquals(wordsOf("HTTP/1.1 200"), "");
  assertEquals(wordsOf("HTTP/1.1 404 Pas trouv\xe9"), "Pas trouv\xe9");
});

Deno.test("parseResponseHead() says whether the connection goes on", () => {
  const isKept = (version: string, ...fields: string[]) =>
    parseResponseHead([`HTTP/${version} 200 OK`, ...fields]).isKept;
  assert(isKept("1.1"));
  assert(isKept("1.1", "connection: keep-alive"));
  for (const field of ["connection: close", "Connection: Close", "connection: keep-alive, close"]) {
    assert(!isKept("1.1", field), field);
  }
  assert(!isKept("1.1", "connection: keep-alive", "connection: close"));
  // Only a server that says keep-alive goes on after 1.0, and proxies that know no better pass that on.
  for (const fields of [[], ["connection: keep-alive"]]) assert(!isKept("1.0", ...fields));
});

Deno.test("parseResponseHead() refuses what has no status line", () => {
  const lines = [
    "",
    "ICY 200 OK",
    "http/1.1 200 OK",
    "HTTP/2 200 OK",
    "HTTP/1.2 200 OK",
    "HTTP/1.1  200 OK",
    "HTTP/1.1 20 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 600 OK",
    "HTTP/1.1 000 OK",
    "HTTP/1.1 200\tOK",
    "HTTP/1.1 200 O\rK",
    " HTTP/1.1 200 OK",
    "extraHTTP/1.1 200 OK",
  ];
  for (const line of lines) {
    assertThrows(() => parseResponseHead([line]), HttpSyntaxError, "it has no status line", line);
  }
  assertThrows(() => parseResponseHead([]), HttpSyntaxError, "it has no status line");
});

Deno.test("parseResponseHead() refuses words that no Response can have", () => {
  for (const words of ["\0", "O\x01K", "OK\x7f"]) {
    assertThrows(() => parseResponseHead([`HTTP/1.1 200 ${words}`]), HttpSyntaxError, "no status line");
  }
});

Deno.test("parseResponseHead() refuses fields without a name, and lines that were folded", () => {
  const fields = [
    " folded",
    "\tfolded: v",
    "name : v",
    ": v",
    "no colon",
    "na me: v",
    "n\xe4me: v",
    "n\0: v",
  ];
  for (const field of fields) {
    const parse = () => parseResponseHead(["HTTP/1.1 200 OK", "a: b", field]);
    assertThrows(parse, HttpSyntaxError, "a header field has no name", field);
  }
});

Deno.test("parseResponseHead() refuses values that a header cannot have", () => {
  for (const value of ["a\0b", "a\rb", "a\nb"]) {
    const parse = () => parseResponseHead(["HTTP/1.1 200 OK", `name: ${value}`]);
    assertThrows(parse, HttpSyntaxError, 'its header field "name" has no proper value');
  }
});

Deno.test("framingOf() knows answers that have no body whatever their fields say", () => {
  for (const field of ["content-length: 5", "transfer-encoding: chunked"]) {
    assertEquals(frame("HEAD", 200, field), { type: "none" });
    assertEquals(frame("GET", 204, field), { type: "none" });
    assertEquals(frame("GET", 304, field), { type: "none" });
  }
});

Deno.test("framingOf() finds out how a body ends", () => {
  assertEquals(frame("GET", 200, "content-length: 0"), { type: "sized", size: 0 });
  assertEquals(frame("PUT", 413, "content-length: 00012"), { type: "sized", size: 12 });
  assertEquals(frame("GET", 200, "content-length: 999999999999999"), {
    type: "sized",
    size: 999999999999999,
  });
  assertEquals(frame("GET", 200, "Transfer-Encoding: Chunked"), { type: "chunked" });
  assertEquals(frame("GET", 200), { type: "until-close" });
});

Deno.test("fault 68: framingOf() takes a length that came twice with one value", () => {
  for (const fields of [["content-length: 5", "content-length: 5"], ["content-length: 5,5 , 5"]]) {
    assertEquals(frame("GET", 200, ...fields), { type: "sized", size: 5 });
  }
});

Deno.test("framingOf() refuses a length that is none, also two that differ", () => {
  const lengths = ["", "-1", "+5", "5.0", "0x10", "1e3", "5 5", "5, 6", "5,", "\xb2", "1000000000000000"];
  for (const length of lengths) {
    const why = "its length is not a number";
    assertThrows(() => frame("GET", 200, `content-length: ${length}`), HttpSyntaxError, why, length);
  }
  const read = () => frame("GET", 200, "content-length: 5", "Content-Length: 6");
  assertThrows(read, HttpSyntaxError, "its length is not a number");
});

Deno.test("framingOf() refuses a length together with an encoding, and encodings it did not ask for", () => {
  const both = () => frame("GET", 200, "content-length: 5", "transfer-encoding: chunked");
  assertThrows(both, HttpSyntaxError, "it has both a length and a transfer encoding");
  for (const encoding of ["", "gzip", "gzip, chunked", "chunked, chunked", "xchunked", "identity"]) {
    const read = () => frame("GET", 200, `transfer-encoding: ${encoding}`);
    assertThrows(read, HttpSyntaxError, "its transfer encoding is not known", encoding);
  }
});

Deno.test("parseChunkSize() reads hexadecimal numbers and passes extensions over", () => {
  const sizes: [string, number][] = [
    ["0", 0],
    ["0000", 0],
    ["1a", 26],
    ["1A", 26],
    ["ffffffffffff", 2 ** 48 - 1],
    ["5;name=value", 5],
    ["5 \t;name", 5],
    ["5;", 5],
    ["5 ", 5],
  ];
  for (const [line, size] of sizes) assertEquals(parseChunkSize(line), size, line);
});

Deno.test("parseChunkSize() refuses what is no number", () => {
  const lines = ["", " 5", "-5", "+5", "0x5", "5h", "5 5", "5,", ";5", "g", "5\r", "1000000000000", "٣"];
  for (const line of lines) {
    assertThrows(() => parseChunkSize(line), HttpSyntaxError, "a chunk has no size", line);
  }
});

/** Numbers below a limit, always the same ones (xorshift). */
function dice(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

const SAMPLES = [
  ["HTTP/1.1 200 OK", "content-length: 12", "connection: keep-alive"],
  ["HTTP/1.0 206 Partial Content", "Transfer-Encoding: chunked", 'etag: W/"a"'],
  ["HTTP/1.1 401", 'www-authenticate: Bearer realm="x"', "content-length: 3", "content-length: 3"],
  ["1f;name=value"],
  ["0"],
];

/** A sample in which some characters have been replaced, left out or put in. */
function damage(roll: (limit: number) => number): string[] {
  const lines = [...SAMPLES[roll(SAMPLES.length)] ?? []];
  for (let times = roll(4); times > 0; times--) {
    const index = roll(lines.length);
    const line = lines[index] ?? "";
    const place = roll(line.length + 1);
    const inserted = roll(3) === 0 ? "" : String.fromCharCode(roll(256));
    lines[index] = line.slice(0, place) + inserted + line.slice(place + roll(2));
  }
  return lines;
}

/** Runs something that may refuse its input; anything else it throws fails the test. */
function unlessRefused<Value>(read: () => Value, input: unknown): Value | undefined {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof HttpSyntaxError)) throw new Error(JSON.stringify(input), { cause: error });
    return undefined;
  }
}

Deno.test("parseResponseHead(), framingOf() and parseChunkSize() refuse whatever they do not understand", () => {
  const roll = dice(20260728);
  const outcomes = { head: 0, framing: 0, chunk: 0 };
  for (let round = 0; round < 20_000; round++) {
    const lines = damage(roll);
    const size = unlessRefused(() => parseChunkSize(lines[0] ?? ""), lines);
    if (size !== undefined) outcomes.chunk++;
    assert(size === undefined || Number.isSafeInteger(size) && size >= 0, `${lines}`);
    const head = unlessRefused(() => parseResponseHead(lines), lines);
    if (head === undefined) continue;
    outcomes.head++;
    assert(Number.isInteger(head.status) && head.status >= 100 && head.status < 600, `${lines}`);
    const framing = unlessRefused(() => framingOf("GET", head), lines);
    if (framing !== undefined) outcomes.framing++;
    assert(framing?.type !== "sized" || Number.isSafeInteger(framing.size) && framing.size >= 0, `${lines}`);
  }
  // Damage that nothing survives would show nothing.
  for (const [what, count] of Object.entries(outcomes)) assert(count > 1000, `${count} of ${what}`);
});

Deno.test("parseResponseHead() understands every field that Headers can hold", () => {
  const roll = dice(4711);
  const letters = "!#$%&'*+-.^_`|~09azAZ";
  for (let round = 0; round < 2000; round++) {
    const name = Array.from({ length: 1 + roll(9) }, () => letters[roll(letters.length)]).join("");
    const value = Array.from({ length: roll(12) }, () => String.fromCharCode(0x21 + roll(0xdf))).join("");
    const { headers } = parseResponseHead(["HTTP/1.1 200 OK", `${name}: ${value}`]);
    assertEquals([...headers], [...new Headers([[name, value]])], `${name}: ${value}`);
  }
});
