/** Tests of `Link` headers by RFC 8288, and of what registries make of it. */

import { assertEquals, assertThrows } from "@std/assert";
import { LinkError, nextPath, parseLinks } from "../src/registry/repository/link_header.ts";

const FROM = "/v2/a/b/tags/list?n=3";

Deno.test("fault 2: parseLinks() reads links with every form of parameter", () => {
  const cases: [string, [string, Record<string, string>][]][] = [
    [`</a>; rel="next"`, [["/a", { rel: "next" }]]],
    [`</a>;rel=next;x`, [["/a", { rel: "next", x: "" }]]],
    [`< /a >`, [[" /a ", {}]]],
    [`</a,b>; title="x, \\"y\\"; rel=\\"no\\""; REL = next`, [["/a,b", {
      title: `x, "y"; rel="no"`,
      rel: "next",
    }]]],
    [`</a>; rel="prev", </b>; rel="next"`, [["/a", { rel: "prev" }], ["/b", { rel: "next" }]]],
    [`, </a> ,, </b>,`, [["/a", {}], ["/b", {}]]],
    [`</a>; rel=next; rel=prev`, [["/a", { rel: "next" }]]],
    [`</a>; title*=UTF-8'de'n%c3%a4chste; rel=next;`, [["/a", {
      "title*": "UTF-8'de'n%c3%a4chste",
      rel: "next",
    }]]],
    [`</a>\t;\trel="next"`, [["/a", { rel: "next" }]]],
    [``, []],
    [`  `, []],
  ];
  for (const [header, expected] of cases) {
    const links = parseLinks(header);
    assertEquals(
      links.map(({ target, parameters }) => [target, Object.fromEntries(parameters)]),
      expected,
      header,
    );
  }
});

Deno.test("fault 2: nextPath() finds the next page however its relation is written", () => {
  const next = [
    `</v2/n>; rel="next"`,
    `</v2/n>; rel=next`,
    `</v2/n>; rel='next'`,
    `</v2/n>; rel="last next"`,
    `</v2/n>; rel="NEXT"`,
    `</v2/n>; title="a, b"; rel="next"`,
    `/v2/n; rel="next"`,
    `</v2/n>`,
    `<https://elsewhere.test/v2/n>; rel="next"`,
    `</v2/p>; rel="prev", </v2/n>; rel="next"`,
    `</v2/x>; rel="next"; anchor="/other", </v2/n>; rel="next"`,
  ];
  for (const header of next) assertEquals(nextPath(header, FROM), "/v2/n", header);
  for (const header of [`</v2/n>; rel="prev"`, `</v2/n>; rel=nextish`, `</v2/n>; rel=""`, ""]) {
    assertEquals(nextPath(header, FROM), undefined, header);
  }
  assertEquals(nextPath(null, FROM), undefined);
  for (const target of ["?last=x", "list?last=x", "https://proxy.test/docker/v2/a/b/tags/list?last=x"]) {
    assertEquals(nextPath(`<${target}>`, FROM), "/v2/a/b/tags/list?last=x");
  }
});

Deno.test("fault 2: nextPath() never takes a header that it cannot read for the end", () => {
  const unreadable = [
    `</v2/n; rel="next"`,
    `</v2/n>; rel="next`,
    `</v2/n> rel="next"`,
    `"next"`,
    `</v2/n>; rel="next" x`,
    `;rel=next`,
    `<${"x".repeat(20_000)}>`,
  ];
  for (const header of unreadable) assertThrows(() => nextPath(header, FROM), LinkError, "cannot be read");
  for (const header of [`</admin>`, `<//evil.test/x>`, `<http://[>`]) {
    assertThrows(() => nextPath(header, FROM), SyntaxError);
  }
});
