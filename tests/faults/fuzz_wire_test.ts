/** Fuzz tests of what registries answer: challenges, links, ranges, locations, errors, waits. */

import { assert, assertEquals } from "@std/assert";
import { isTag } from "../../src/oci/reference.ts";
import { BlobSource } from "../../src/registry/repository/blob_source.ts";
import { parseChallenges } from "../../src/registry/login/challenge.ts";
import { parseErrors, parseRetryAfter, RegistryError } from "../../src/registry/registry_error.ts";
import type { Repository } from "../../src/registry/repository/repository.ts";
import { Registries } from "../../src/registry/registries.ts";
import { TagList } from "../../src/registry/repository/tag_list.ts";
import { parseUploadRange, resolveLocation } from "../../src/registry/repository/upload_session.ts";
import { FakeClock } from "../fake_clock.ts";
import { digestBytes, generatedBytes } from "../registry.ts";
import { fuzz, headerText } from "./fuzzer.ts";

Deno.test("parseChallenges() reads whatever it is given", async () => {
  await fuzz({
    name: "challenges",
    seeds: [
      `Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull,push"`,
      `Basic realm="x", Bearer realm="https://a.test/t?x=\\"y\\"" , error="invalid_token"`,
      `Negotiate dG9rZW4=, NTLM, basic`,
    ],
    words: [`"`, "\\", "=", ",", "Bearer ", "realm=", `realm="`, "__proto__=1", "constructor=", "==", ";"],
    allowed: [],
    take: (text) => {
      for (const { scheme, parameters } of parseChallenges(text)) {
        assertEquals(scheme, scheme.toLowerCase());
        assertEquals(Object.getPrototypeOf(parameters), null);
      }
    },
  });
});

/** Path of the page after one with a `Link` header. */
function nextTagPage(link: string): string | undefined {
  const list = new TagList("a/b");
  list.take(new TextEncoder().encode(`{"tags":["v1"]}`), new Headers({ link }));
  return list.path;
}

Deno.test("TagList stays in the API whatever the Link header is", async () => {
  await fuzz({
    name: "Link headers",
    seeds: [
      `</v2/a/b/tags/list?last=x&n=100>; rel="next"`,
      `<https://evil.test/v2/a/b/tags/list?n=1>; rel=next, </x>; rel="prev"`,
      `<list?last=é>;title="a,b";rel="next"`,
    ],
    words: [
      "<",
      ">",
      ";",
      `rel="next"`,
      "rel=next",
      "//evil.test",
      "..",
      "%2e%2e",
      "\\",
      "@",
      "https://",
      "?",
    ],
    allowed: [SyntaxError],
    take: (text) => {
      const path = nextTagPage(headerText(text));
      if (path === undefined) return;
      const url = new URL(path, "https://registry.test");
      assertEquals(url.origin, "https://registry.test");
      assert(url.pathname.startsWith("/v2/"), path);
    },
  });
});

Deno.test("TagList and parseErrors() read whatever JSON they are given", async () => {
  await fuzz({
    name: "JSON answers",
    seeds: [
      `{"name":"a/b","tags":["v1","v2",null]}`,
      `{"name":"a/b","tags":null}`,
      `{"errors":[{"code":"DENIED","message":"no\\nentry","detail":{"a":[1]}},{}]}`,
    ],
    words: ["{", "}", "[", "]", ",", '"', "null", "1e999", '"tags":', '"errors":', "[[[[", "\\u001b[31m"],
    allowed: [SyntaxError],
    take: (text) => {
      for (const { code, message } of parseErrors(text)) {
        assert(!/\p{Cc}/u.test(code + message), code + message);
        assert(code.length + message.length < 2000);
      }
      for (const tag of new TagList("a/b").take(new TextEncoder().encode(text), new Headers())) {
        assert(isTag(tag), tag);
      }
    },
  });
});

Deno.test("resolveLocation() never leads to a place that it must not", async () => {
  await fuzz({
    name: "Location headers",
    seeds: [
      "/v2/a/blobs/uploads/1?_state=x",
      "https://registry.test:443/u/1",
      "http://registry.test/u",
      "u/1",
    ],
    words: [
      "//",
      "@",
      ":",
      "\\",
      "..",
      "javascript:",
      "file:///",
      "http://",
      "https://u:p@",
      "#",
      "%00",
      "[::1]",
    ],
    allowed: [SyntaxError],
    take: (text) => {
      const url = new URL(resolveLocation(headerText(text), new URL("https://registry.test")));
      assertEquals(url.protocol, "https:");
      assertEquals(url.username + url.password, "");
    },
  });
});

Deno.test("parseRetryAfter() gives a wait or nothing, whatever the header is", async () => {
  const now = Date.UTC(2026, 0, 1);
  await fuzz({
    name: "Retry-After headers",
    seeds: [
      "120",
      "0",
      "1.5",
      "Fri, 31 Dec 2026 23:59:59 GMT",
      "Friday, 31-Dec-99 23:59:59 GMT",
      "Fri Dec 31 1999",
    ],
    words: ["-", "+", "e9", "0x", "Infinity", "NaN", "GMT", "Mon,", ",", ":", ".", "99999999999999999999"],
    allowed: [],
    take: (text) => {
      const wait = parseRetryAfter(headerText(text), now);
      assert(wait === undefined || wait >= 0, `${wait}`);
    },
  });
});

Deno.test("parseUploadRange() gives a safe number of bytes or nothing, whatever the header is", async () => {
  await fuzz({
    name: "upload Range headers",
    seeds: ["0-0", "0-1048575", "bytes=0-9", "0--1", "5-9"],
    words: ["-", "=", "bytes", "0", "999999999999999", "1e5", ".", ","],
    allowed: [],
    take: (text) => {
      const offset = parseUploadRange(headerText(text));
      assert(offset === undefined || Number.isSafeInteger(offset) && offset >= 0, `${offset}`);
    },
  });
});

const BLOB = generatedBytes(1, 100);
const DESCRIPTOR = { mediaType: "application/octet-stream", digest: digestBytes(BLOB), size: BLOB.length };
const RIGHT_RANGE = /^bytes 0*40-\d+\/(\*|0*100)$/;

/** A registry that breaks off a blob after 40 bytes, and then has a header of its own for the rest. */
function rangeLiar(contentRange: string): Repository {
  let isFirst = true;
  const fetch = (url: string) => {
    if (url.endsWith("/v2/")) return Promise.resolve(new Response());
    const response = isFirst
      ? new Response(BLOB.slice(0, 40))
      : new Response(BLOB.slice(40), { status: 206, headers: { "content-range": contentRange } });
    isFirst = false;
    return Promise.resolve(response);
  };
  const registries = new Registries({ fetchFor: () => fetch, clock: new FakeClock() });
  return registries.open({ registry: "registry.test", repository: "a/b" }, "pull");
}

Deno.test("BlobSource.read() goes on only with the right Content-Range", async () => {
  await fuzz({
    name: "Content-Range headers",
    seeds: ["bytes 40-99/100", "bytes 40-99/*", "bytes 0-99/100", "bytes */100", "items 1-2/3"],
    words: ["-", "/", "*", "bytes", " ", "0", "100", "40", "1e2", ",", "multipart/byteranges"],
    allowed: [RegistryError],
    take: async (text) => {
      const contentRange = headerText(text);
      const source = new BlobSource(rangeLiar(contentRange), DESCRIPTOR);
      let length = 0;
      for (let piece = await source.read(); piece !== undefined; piece = await source.read()) {
        length += piece.length;
      }
      assertEquals(length, BLOB.length);
      assert(RIGHT_RANGE.test(contentRange), contentRange);
    },
  });
});
