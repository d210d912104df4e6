/** Workers that share their work: who claims what, and what is believed of what others say. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { openKvStore } from "../../src/deno/kv_store.ts";
import { whenFree } from "../../src/deno/kv_busy.ts";
import { KvLeases } from "../../src/deno/kv_leases.ts";
import type { Leases } from "../../src/machine/workers/leases.ts";
import { MemoryStore } from "../../src/mirror/store/memory_store.ts";
import { type SharedWork, shareWork } from "../../src/machine/workers/shared_work.ts";
import type { CopyTask } from "../../src/mirror/plan/plan.ts";
import { type Store, tagKey } from "../../src/mirror/store/store.ts";

const DIGEST = `sha256:${"a".repeat(64)}`;
const TASK: CopyTask = {
  id: "one.test/app:v1",
  source: { registry: "one.test", repository: "app", tag: "v1" },
  root: { mediaType: "", digest: DIGEST, size: 1 },
  destinations: [{ reference: { registry: "two.test", repository: "app", tag: "v1" }, action: "copy" }, {
    reference: { registry: "two.test", repository: "b", tag: "v1" },
    action: "unchanged",
  }],
};

/** What a test has: what it asks, and what that is made of. */
interface Parts extends SharedWork {
  kv: Deno.Kv;
  store: Store;
  leases: KvLeases;
}

async function withClaim(test: (parts: Parts) => Promise<void>): Promise<void> {
  using kv = await Deno.openKv(":memory:");
  const store = await openKvStore({ kv });
  const leases = new KvLeases(kv);
  await test({ ...shareWork(leases, { store }), kv, store, leases });
  await store.close();
}

/** Notes that a worker has copied the task. */
async function noteCopied(store: Store, digest = DIGEST, copiedAt = Date.now()): Promise<void> {
  await store.set(tagKey("two.test", "app", "v1"), { digest, source: TASK.id, copiedAt });
}

async function leasesLeft(kv: Deno.Kv): Promise<number> {
  return (await Array.fromAsync(kv.list({ prefix: ["image-syncer", "lease"] }))).length;
}

Deno.test("claim() takes an image that nobody has, and gives it back with what was noted", () =>
  withClaim(async ({ claim, kv, store }) => {
    const giveBack = await claim(TASK);
    assert(giveBack !== undefined);
    assertEquals(await claim(TASK), undefined);
    await noteCopied(store);
    await giveBack();
    assertEquals(await leasesLeft(kv), 0);
    const other = await openKvStore({ kv });
    assert(await other.get(tagKey("two.test", "app", "v1")) !== undefined);
    await other.close();
  }));

Deno.test("claim() leaves what another worker has copied, without a lease, but only once", () =>
  withClaim(async ({ claim, kv, store, leases }) => {
    await noteCopied(store);
    let taken = 0;
    const take = leases.take.bind(leases);
    leases.take = (name) => (taken++, take(name));
    assertEquals(await claim(TASK), undefined);
    assertEquals(taken, 0);
    // The run has looked since, and the image is not there.
    const giveBack = await claim(TASK);
    assert(giveBack !== undefined);
    await giveBack();
    assertEquals(await leasesLeft(kv), 0);
  }));

Deno.test("claim() lets go of what was finished between its look and its lease", () =>
  withClaim(async ({ claim, kv, store, leases }) => {
    const take = leases.take.bind(leases);
    leases.take = async (name) => {
      await noteCopied(store);
      return await take(name);
    };
    assertEquals(await claim(TASK), undefined);
    assertEquals(await leasesLeft(kv), 0);
  }));

Deno.test("claim() believes neither an old note nor one of another digest", () =>
  withClaim(async ({ claim, store }) => {
    await noteCopied(store, DIGEST, Date.now() - 3600_000);
    await (await claim(TASK))?.();
    await noteCopied(store, `sha256:${"b".repeat(64)}`);
    const giveBack = await claim(TASK);
    assert(giveBack !== undefined);
    await giveBack();
  }));

Deno.test("claim() goes on alone when the database does not answer, and says so once", async () => {
  const kv = await Deno.openKv(":memory:");
  const store = await openKvStore({ kv });
  kv.close();
  const warnings: string[] = [];
  const { claim } = shareWork(new KvLeases(kv), { store, onWarning: (message) => warnings.push(message) });
  for (let time = 0; time < 2; time++) await (await claim(TASK))?.();
  assertEquals(warnings.length, 1);
  assert(warnings[0]?.startsWith("Cannot share work: "), warnings[0]);
});

Deno.test("fault 23: claim() does not ask a database again that has not answered, for each image would wait", async () => {
  let calls = 0;
  const take = () => {
    calls++;
    return Promise.reject(new Error("the database has not answered for 15 s"));
  };
  const leases: Leases = { take, takeFromDead: take, survey: take, clearDead: () => Promise.resolve() };
  const { claim } = shareWork(leases, { store: new MemoryStore() });
  for (let image = 0; image < 5; image++) assert(await claim(TASK) !== undefined);
  assertEquals(calls, 1);
});

Deno.test("fault 23: leases and health are told that a database does not answer, in bounded time", async () => {
  const hung = new Promise<never>(() => {});
  await assertRejects(() => whenFree(() => hung, 1), Error, "the database has not answered for 0.001 s");
  let attempts = 0;
  const busy = () => Promise.reject(new Error(++attempts < 3 ? "database is locked" : "disk I/O error"));
  await assertRejects(() => whenFree(busy, 1000), Error, "disk I/O error");
  assertEquals(attempts, 3);
});

Deno.test("claim() takes an image that is there for what belongs to it", () =>
  withClaim(async ({ claim, kv, store }) => {
    await noteCopied(store);
    const reference = { registry: "two.test", repository: "app", tag: "v1" };
    const destinations = [{ reference, action: "unchanged", isIncomplete: true }] as const;
    const giveBack = await claim({ ...TASK, destinations: [...destinations] });
    assert(giveBack !== undefined);
    await giveBack();
    assertEquals(await leasesLeft(kv), 0);
  }));

Deno.test("revisit() believes what is noted while the lease is another's, and leaves alone what is still leased", () =>
  withClaim(async ({ claim, revisit, kv, store }) => {
    const other = new KvLeases(kv);
    const lease = await other.take(["image", TASK.id]);
    assertEquals(await claim(TASK), undefined);
    const early = await revisit([TASK]);
    assertEquals([early.copied, early.free], [[], []]);
    await noteCopied(store);
    await lease?.release();
    assertEquals(await revisit([TASK]), { copied: [TASK], free: [], wait: Infinity });
  }));

Deno.test("revisit() sends the run once to look at what was noted before, and believes no note of it afterwards", () =>
  withClaim(async ({ claim, revisit, kv, store }) => {
    await noteCopied(store);
    assertEquals(await claim(TASK), undefined);
    assertEquals(await revisit([TASK]), { copied: [], free: [TASK], wait: Infinity });
    // It was not there; by now somebody else is at it.
    const other = new KvLeases(kv);
    const lease = await other.take(["image", TASK.id]);
    assertEquals(await claim(TASK), undefined);
    assertEquals((await revisit([TASK])).free, []);
    await lease?.release();
    assertEquals(await revisit([TASK]), { copied: [], free: [TASK], wait: Infinity });
  }));

Deno.test("revisit() frees what was given back undone, and everything when the database does not answer", async () => {
  const kv = await Deno.openKv(":memory:");
  const store = new MemoryStore();
  const leases = new KvLeases(kv);
  const { claim, revisit } = shareWork(leases, { store });
  const lease = await new KvLeases(kv).take(["image", TASK.id]);
  assertEquals(await claim(TASK), undefined);
  await lease?.release();
  assertEquals(await revisit([TASK]), { copied: [], free: [TASK], wait: Infinity });
  kv.close();
  assertEquals(await revisit([TASK]), { copied: [], free: [TASK], wait: 0 });
});
