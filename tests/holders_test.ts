/** Which repositories hold which content: one of them, many of them, none any more. */

import { assertEquals } from "@std/assert";
import { Holders } from "../src/mirror/copy/holders.ts";

const A = { registry: "registry.test", name: "a" };
const B = { registry: "registry.test", name: "b" };
const C = { registry: "registry.test", name: "c" };
const ELSEWHERE = { registry: "other.test", name: "a" };
const DIGEST = "sha256:1";

function holdersOf(...places: (typeof A)[]): Holders {
  const holders = new Holders();
  for (const place of places) holders.add(place, DIGEST);
  return holders;
}

Deno.test("Holders.has() knows each repository that was added, and no other", () => {
  for (const places of [[A], [A, B], [A, B, C], [A, A]]) {
    const holders = holdersOf(...places);
    for (const one of [A, B, C]) assertEquals(holders.has(one, DIGEST), places.includes(one));
    assertEquals(holders.has(ELSEWHERE, DIGEST), false);
    assertEquals(holders.has(A, "sha256:2"), false);
  }
});

Deno.test("Holders.other() names the first other repository of the same registry", () => {
  assertEquals(holdersOf().other(A, DIGEST), undefined);
  assertEquals(holdersOf(A).other(A, DIGEST), undefined);
  assertEquals(holdersOf(A).other(B, DIGEST), "a");
  assertEquals(holdersOf(A, B, C).other(A, DIGEST), "b");
  assertEquals(holdersOf(A, B, C).other(C, DIGEST), "a");
  assertEquals(holdersOf(A).other(ELSEWHERE, DIGEST), undefined);
});

Deno.test("Holders.forget() forgets one repository, and takes in again what comes later", () => {
  for (const places of [[A], [A, B], [A, B, C]]) {
    const holders = holdersOf(...places, ELSEWHERE);
    holders.forget(A);
    for (const one of [A, B, C]) assertEquals(holders.has(one, DIGEST), one !== A && places.includes(one));
    assertEquals(holders.has(ELSEWHERE, DIGEST), true);
    holders.add(A, DIGEST);
    assertEquals(holders.has(A, DIGEST), true);
  }
});
