/** Tests of doing the same thing once, whoever asks. */

import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { Once } from "../src/registry/once.ts";
import { settle } from "./fake_clock.ts";

Deno.test("Once.do() begins once for all who ask at the same moment, and anew when that is over", async () => {
  const once = new Once<string, number>();
  let begun = 0;
  const ask = (key: string) => once.do(key, () => Promise.resolve(++begun));
  assertEquals(await Promise.all([ask("a"), ask("a"), ask("b"), ask("a")]), [1, 1, 2, 1]);
  assertEquals(once.get("a"), undefined);
  assertEquals(await ask("a"), 3);
});

Deno.test("Once.do() keeps a success where it is to remember, until it is told to forget", async () => {
  const once = new Once<string, number>({ remembers: true });
  let begun = 0;
  const ask = () => once.do("a", () => Promise.resolve(++begun));
  assertEquals([await ask(), await ask(), await once.get("a")], [1, 1, 1]);
  once.forget("a");
  assertEquals(await ask(), 2);
});

Deno.test("Once.do() gives a failure to all who have joined, and lets the next one try", async () => {
  for (const remembers of [false, true]) {
    const once = new Once<string, string>({ remembers });
    const failure = new Error("no");
    const asking = [1, 2].map(() => once.do("a", () => Promise.reject(failure)));
    for (const one of asking) assertStrictEquals(await assertRejects(() => one), failure);
    assertEquals(await once.do("a", () => Promise.resolve("yes")), "yes");
  }
});

Deno.test("Once.do() takes work that throws at once for a failure like any other", async () => {
  const once = new Once<string, string>();
  const begin = () => {
    throw new Error("no");
  };
  await assertRejects(() => once.do("a", begin), Error, "no");
  assertEquals(once.get("a"), undefined);
});

Deno.test("Once.do() lets an asker leave, and goes on for the others", async () => {
  const once = new Once<string, string>();
  const work = Promise.withResolvers<string>();
  const controller = new AbortController();
  const first = once.do("a", () => work.promise, controller.signal);
  const second = once.do("a", () => Promise.reject(new Error("never begun")));
  const reason = new Error("enough");
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => first), reason);
  work.resolve("done");
  assertEquals(await second, "done");
});

Deno.test("Once.do() leaves no failure unhandled that everybody has left", async () => {
  const once = new Once<string, string>();
  const work = Promise.withResolvers<string>();
  const controller = new AbortController();
  const asked = once.do("a", () => work.promise, controller.signal);
  controller.abort(new Error("enough"));
  await assertRejects(() => asked, Error, "enough");
  work.reject(new Error("nobody hears"));
  await settle();
  assertEquals(once.get("a"), undefined);
});

Deno.test("Once.forget() leaves what is under way to those who have joined, and what was begun after it alone", async () => {
  const once = new Once<string, number>();
  const [first, second] = [Promise.withResolvers<number>(), Promise.withResolvers<number>()];
  const one = once.do("a", () => first.promise);
  once.forget("a");
  const two = once.do("a", () => second.promise);
  first.resolve(1);
  assertEquals(await one, 1);
  assertStrictEquals(once.get("a"), two);
  second.resolve(2);
  assertEquals(await two, 2);
});
