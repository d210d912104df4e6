/** Tests of reading `WWW-Authenticate` headers. */

import { assert, assertEquals } from "@std/assert";
import { parseChallenges } from "../src/registry/login/challenge.ts";

function read(header: string): [string, Record<string, string>][] {
  return parseChallenges(header).map(({ scheme, parameters }) => [scheme, { ...parameters }]);
}

Deno.test("parseChallenges() reads what registries send", () => {
  assertEquals(
    read(`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull,push"`),
    [["bearer", {
      realm: "https://auth.docker.io/token",
      service: "registry.docker.io",
      scope: "a:b:pull,push",
    }]],
  );
  assertEquals(read(`Basic realm="Registry Realm"`), [["basic", { realm: "Registry Realm" }]]);
  assertEquals(read("Basic"), [["basic", {}]]);
  assertEquals(read(""), []);
});

Deno.test("parseChallenges() reads several challenges in one header", () => {
  assertEquals(read(`Basic realm="a", Bearer realm="b", service=c , Negotiate`), [
    ["basic", { realm: "a" }],
    ["bearer", { realm: "b", service: "c" }],
    ["negotiate", {}],
  ]);
  assertEquals(read(`Negotiate dG9rZW4=, Basic realm="a"`).map(([scheme]) => scheme).at(-1), "basic");
});

Deno.test("parseChallenges() takes any case, spaces around signs, and quoted characters", () => {
  assertEquals(read(`BEARER Realm = "https://x/\\"y\\\\" ,SERVICE=s`), [
    ["bearer", { realm: `https://x/"y\\`, service: "s" }],
  ]);
});

Deno.test("parseChallenges() takes the first of two parameters of a name", () => {
  assertEquals(read(`Bearer realm="good",realm="evil"`), [["bearer", { realm: "good" }]]);
});

Deno.test("parseChallenges() has no parameters from an object's prototype", () => {
  const [challenge] = parseChallenges(`Bearer __proto__="x"`);
  assertEquals(challenge?.parameters.realm, undefined);
  assertEquals(challenge?.parameters.constructor, undefined);
});

Deno.test("parseChallenges() lets what came before something malformed stand", () => {
  for (const rest of [`"open`, `realm2="open`, `, ;;;`, `\u0000`]) {
    const [first] = read(`Bearer realm="a" ${rest}`);
    assertEquals(first?.[0], "bearer");
    assertEquals(first?.[1].realm, "a");
  }
  assertEquals(read(`;Basic realm="a"`), []);
});

Deno.test("parseChallenges() cuts endless headers and takes no time for them", () => {
  const startedAt = performance.now();
  for (const part of ["a ", `"`, "\\", "a=", `a="`, ",", " ", `Basic realm="${"\\".repeat(9)}`]) {
    parseChallenges(part.repeat(200_000));
  }
  assert(performance.now() - startedAt < 2000);
  const late = `Basic realm="a",${" ".repeat(9000)}Bearer realm="b"`;
  assertEquals(read(late).map(([scheme]) => scheme), ["basic"]);
});
