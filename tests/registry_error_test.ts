/** Tests of what a registry's refusal is turned into. */

import { assert, assertEquals } from "@std/assert";
import { printable } from "../src/oci/printable.ts";
import { parseErrors, parseRetryAfter, RegistryError } from "../src/registry/registry_error.ts";

const BASE = { action: `read "x"`, method: "GET", url: "https://r/v2/x", status: 403 };

Deno.test("RegistryError says what could not be done, the status, and the registry's own words", () => {
  const errors = [{ code: "DENIED", message: "quota exceeded" }, { code: "TOOMANY", message: "" }];
  const error = new RegistryError({ ...BASE, errors, why: "(anonymous)" });
  assertEquals(error.message, `Cannot read "x": 403 DENIED: quota exceeded; TOOMANY (anonymous)`);
  assertEquals(error.name, "RegistryError");
  assert(error.hasCode("DENIED") && !error.hasCode("UNKNOWN"));
  const cause = new Error("why");
  const none = new RegistryError({ ...BASE, status: 0, why: "connection refused", cause });
  assertEquals(none.message, `Cannot read "x": connection refused`);
  assert(none.cause === cause);
});

Deno.test("fault 54: RegistryError.retry says when it makes sense to try again, and never is rare", () => {
  const retryOf = (status: number, code = "DENIED") =>
    new RegistryError({ ...BASE, status, errors: [{ code, message: "" }] }).retry;
  for (const status of [0, 408, 425, 429, 500, 502, 503, 504, 520, 522, 530]) {
    assertEquals([status, retryOf(status)], [status, "soon"]);
  }
  for (const status of [200, 301, 401, 404]) assertEquals([status, retryOf(status)], [status, "later"]);
  for (const code of ["MANIFEST_BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN", "MANIFEST_UNKNOWN"]) {
    assertEquals(retryOf(400, code), "later");
  }
  for (const status of [400, 403, 405, 409, 411, 412, 413, 415, 416, 501, 505, 531]) {
    assertEquals([status, retryOf(status)], [status, "once"]);
  }
});

Deno.test("RegistryError.isPermanent is what the same request is of no use after", () => {
  for (
    const [options, isPermanent] of [[{}, true], [{ status: 0 }, false], [{ status: 500 }, false]] as const
  ) {
    assertEquals(new RegistryError({ ...BASE, ...options }).isPermanent, isPermanent);
  }
  assertEquals(new RegistryError({ ...BASE, status: 0, isPermanent: true }).retry, "later");
  assertEquals(new RegistryError({ ...BASE, status: 500 }).exhaust().retry, "later");
  assertEquals(new RegistryError({ ...BASE, status: 403 }).exhaust().retry, "once");
});

Deno.test("parseErrors() reads the error list of the distribution-spec", () => {
  const errors = [{ code: "BLOB_UNKNOWN", message: "blob unknown", detail: { digest: "d" } }, { code: 7 }];
  assertEquals(parseErrors(JSON.stringify({ errors })), [
    { code: "BLOB_UNKNOWN", message: "blob unknown", detail: { digest: "d" } },
    { code: "UNKNOWN", message: "" },
  ]);
  for (const text of ["", "<html>", "null", "[]", `{"errors":{}}`, `{"errors":[null,"x"]}`, `"errors"`]) {
    assertEquals(parseErrors(text), [], text);
  }
  assertEquals(parseErrors(JSON.stringify({ errors: Array(50).fill({ code: "X" }) })).length, 10);
});

Deno.test("parseErrors() gives the terminal nothing to obey", () => {
  const [error] = parseErrors(JSON.stringify({
    errors: [{ code: "\u001b[2JX", message: "a\r\nb\u001b]0;title\u0007\u009b31mc\u2028d" }],
  }));
  assertEquals(error?.code, "[2JX");
  assertEquals(error?.message, "a b ]0;title 31mc d");
});

Deno.test("printable() cuts what is endless and blanks what could be obeyed", () => {
  assertEquals(printable("  a\n\n\tb  "), "a b");
  assertEquals(printable("x".repeat(501)), `${"x".repeat(500)}…`);
  assertEquals(printable("x".repeat(500)), "x".repeat(500));
  assertEquals(printable("é ü 漢"), "é ü 漢");
});

Deno.test("fault 40: printable() lets nothing through that a terminal or a log would obey", () => {
  assertEquals(printable("a\u001b[2J\u009b1mb\r\nFinished"), "a [2J 1mb Finished");
  assertEquals(printable("evil\u202etxt.exe\u2028next\u200b"), "evil txt.exe next");
});

Deno.test("printable() leaves out the queries and user names of URLs, which hold secrets", () => {
  assertEquals(
    printable(`Get "https://s3.test/b/blob?X-Amz-Signature=abc&X=d": timeout`),
    `Get "https://s3.test/b/blob?…": timeout`,
  );
  assertEquals(printable("see http://user:pass@host/x#y"), "see http://…@host/x#y");
  assertEquals(printable("see http://user:p@ss@host/x#y@z"), "see http://…@host/x#y@z");
  assertEquals(printable("is it there? yes"), "is it there? yes");
});

Deno.test("parseRetryAfter() reads seconds and dates, and nothing else", () => {
  const now = Date.parse("Tue, 14 Nov 2023 22:13:20 GMT");
  const cases: [string | null, number | undefined][] = [
    [null, undefined],
    ["0", 0],
    ["120", 120_000],
    [" 7 ", 7000],
    ["1.5", 1500],
    ["Tue, 14 Nov 2023 22:13:30 GMT", 10_000],
    ["Tue, 14 Nov 2023 22:13:00 GMT", 0],
    ["Tuesday, 14-Nov-23 22:13:30 GMT", 10_000],
    ["Tue, nonsense", undefined],
    ["-5", undefined],
    ["", undefined],
    ["soon", undefined],
    ["1e9", undefined],
    ["0x10", undefined],
    ["2023", 2_023_000],
  ];
  for (const [header, expected] of cases) assertEquals(parseRetryAfter(header, now), expected, `${header}`);
});

Deno.test("fault 75: RegistryError repeats what of a detail is news, in any form", () => {
  const messageOf = (detail: unknown, code = "MANIFEST_INVALID") =>
    new RegistryError({ ...BASE, errors: [{ code, message: "manifest invalid", detail }] }).message;
  const start = `Cannot read "x": 403 MANIFEST_INVALID: manifest invalid`;
  const cases: [unknown, string][] = [
    ["unknown media type a/b", " (unknown media type a/b)"],
    [{ mediaType: "a/b", size: 5 }, " (mediaType: a/b, size: 5)"],
    [[{ Type: "repository", Name: "y" }], " (Type: repository, Name: y)"],
    [{ reference: "x" }, ""],
    ["manifest invalid", ""],
    [{}, ""],
    [null, ""],
    [undefined, ""],
    [{ a: { b: { c: { d: { e: "too deep" } } } } }, ""],
    ["a\u001b[2Jb\nFinished", " (a [2Jb Finished)"],
    ["z".repeat(300), ` (${"z".repeat(200)}…)`],
  ];
  for (const [detail, end] of cases) assertEquals(messageOf(detail), `${start}${end}`);
  assertEquals(messageOf([{ Type: "repository" }], "UNAUTHORIZED").includes("repository"), false);
});
