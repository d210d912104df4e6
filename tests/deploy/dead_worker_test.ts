/** What workers ask while they wait for a dead one, and what becomes of the images in its hands. */

import { assert, assertEquals } from "@std/assert";
import { KvLeases } from "../../src/deno/kv_leases.ts";
import { openKvStore } from "../../src/deno/kv_store.ts";
import { IMAGE_LEASE, shareWork } from "../../src/machine/workers/shared_work.ts";
import type { Clock } from "../../src/registry/clock.ts";
import { buildImage, type Image, pushImage } from "../images.ts";
import type { RequestEntry, TestRegistry } from "../registry.ts";
import { assertHolds, DESTINATION, MirrorSetup, SOURCE } from "../mirror_setup.ts";

const LIFETIME = 30_000;
const SURVIVORS = 3;
const IMAGES = 60;
/** When survivors wait, in milliseconds: pauses double, and the last one ends when the lease does. */
const WAITS = [0, 1000, 2000, 4000, 8000, 16_000];

/** A clock that several workers share: time passes when all of them wait for it. */
class SharedClock implements Clock {
  time: number = Date.now();
  /** Workers that are not through. */
  working = 0;
  /** Called whenever time passes. */
  onPass: () => void = () => {};
  #waiting: { at: number; wake: () => void }[] = [];

  now(): number {
    return this.time;
  }

  random(): number {
    return 0.5;
  }

  delay(milliseconds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ at: this.time + milliseconds, wake: resolve });
    this.#pass();
    return promise;
  }

  /** One worker is through. */
  leave(): void {
    this.working--;
    this.#pass();
  }

  #pass(): void {
    if (this.working === 0 || this.#waiting.length < this.working) return;
    this.onPass();
    this.time = Math.min(...this.#waiting.map(({ at }) => at));
    const due = this.#waiting.filter(({ at }) => at <= this.time);
    this.#waiting = this.#waiting.filter(({ at }) => at > this.time);
    for (const { wake } of due) wake();
  }
}

/** What had been asked at some time. */
interface Asked {
  time: number;
  source: number;
  destination: number;
  leaseLists: number;
  blobLists: number;
}

/** Registries, and workers on one database. */
class Workers {
  readonly clock = new SharedClock();
  readonly setup: MirrorSetup = new MirrorSetup({
    registries: { clock: this.clock },
    source: { intercept: (request, { kind }) => this.#onBlob(request, kind) },
  });
  readonly images: Image[] = [];
  #blobs = 0;
  #kv: Deno.Kv;
  #lists: string[] = [];
  #death = new AbortController();

  constructor(kv: Deno.Kv) {
    this.#kv = new Proxy(kv, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property);
        if (typeof value !== "function") return value;
        return (...rest: [Deno.KvListSelector]) => {
          if (property === "list") this.#lists.push(JSON.stringify(rest[0]));
          return value.apply(target, rest);
        };
      },
    });
    for (let seed = 0; seed < IMAGES; seed++) {
      this.images.push(buildImage({ seed }));
      pushImage(this.setup.source, "team/app", `v${seed}`, buildImage({ seed }));
    }
  }

  /** Lets a worker die in the middle of its work; what it holds is never renewed and never given back. */
  async die(): Promise<{ bury(): Promise<void> }> {
    const leases = new KvLeases(this.#kv, { lifetime: LIFETIME, clock: this.clock });
    const take = leases.take.bind(leases);
    const held: (() => Promise<void>)[] = [];
    leases.renew = () => Promise.resolve();
    leases.take = async (name) => {
      const lease = await take(name);
      const release = () =>
        this.#death.signal.aborted ? Promise.resolve() : lease?.release() ?? Promise.resolve();
      if (lease !== undefined) held.push(() => lease.release());
      return lease === undefined ? undefined : { signal: lease.signal, release };
    };
    await this.#run(leases, this.#death.signal);
    return { bury: async () => void await Promise.all(held.map((release) => release())) };
  }

  /** Lets the others work until they are through. */
  async survive(): Promise<Awaited<ReturnType<MirrorSetup["run"]>>[]> {
    this.clock.working = SURVIVORS;
    return await Promise.all(Array.from({ length: SURVIVORS }, async () => {
      const report = await this.#run(new KvLeases(this.#kv, { lifetime: LIFETIME, clock: this.clock }));
      this.clock.leave();
      return report;
    }));
  }

  /** What has been asked until now. */
  get asked(): Asked {
    const { source, destination } = this.setup;
    const listsOf = (kind: string) => this.#lists.filter((prefix) => prefix.includes(`"${kind}"`)).length;
    return {
      time: this.clock.time,
      source: source.requests.length,
      destination: destination.requests.length,
      leaseLists: listsOf("lease"),
      blobLists: listsOf("blob"),
    };
  }

  async #run(leases: KvLeases, signal?: AbortSignal): ReturnType<MirrorSetup["run"]> {
    const store = await openKvStore({ kv: this.#kv });
    const shared = shareWork(leases, { store });
    const images = { [`${SOURCE}/team/app`]: `${DESTINATION}/mirror/app` };
    const report = await this.setup.run(images, { store, ...shared, ...signal && { signal } });
    await store.close();
    return report;
  }

  #onBlob({ method }: Request, kind: string): undefined {
    if (method === "GET" && kind === "blob" && ++this.#blobs === IMAGES / 2) this.#death.abort();
  }
}

/** What was asked between two times. */
function between(from: Asked | undefined, to: Asked | undefined): Asked {
  assert(from !== undefined && to !== undefined);
  return {
    time: to.time - from.time,
    source: to.source - from.source,
    destination: to.destination - from.destination,
    leaseLists: to.leaseLists - from.leaseLists,
    blobLists: to.blobLists - from.blobLists,
  };
}

/** Tags that were asked for with HEAD at a registry, from one of its requests on. */
function countHeads({ requests }: TestRegistry, from = 0): number {
  const isTag = ({ method, kind, path }: RequestEntry) =>
    method === "HEAD" && kind === "manifest" && !path.includes("sha256:");
  return requests.slice(from).filter(isTag).length;
}

Deno.test("fault 29: who waits for a dead worker asks no registry, and takes over when its lease ends", async () => {
  using kv = await Deno.openKv(":memory:");
  const workers = new Workers(kv);
  const { bury } = await workers.die();
  const left = await Array.fromAsync(kv.list({ prefix: ["image-syncer", "lease", ...IMAGE_LEASE] }));
  assert(left.length > 0);
  const { source, destination } = workers.setup;
  const born = workers.asked;
  const marks: Asked[] = [];
  workers.clock.onPass = () => marks.push(workers.asked);
  const reports = await workers.survive();

  // A first time after a second, at what others were noted to have copied; then at leases alone, less and less often.
  const waits = marks.filter(({ time }) => time - born.time < LIFETIME);
  assertEquals(waits.map(({ time }) => time - born.time), WAITS);
  const [first, last] = [waits[0], waits.at(-1)];
  const waiting = between(waits[1], last);
  assertEquals([waiting.source, waiting.destination], [0, 0]);
  assertEquals(between(first, last).leaseLists, SURVIVORS * (WAITS.length - 1));

  // Each survivor looks once at each image that was left and that no other has copied by then, and one of them copies it.
  const heads = countHeads(source, last?.source);
  assert(
    heads >= left.length && heads <= SURVIVORS * left.length,
    `${heads} HEADs for ${left.length} images`,
  );
  assert(countHeads(destination, last?.destination) <= SURVIVORS * left.length);
  assert(workers.asked.time - born.time <= LIFETIME + 1000);
  assertEquals(between(born, workers.asked).blobLists, SURVIVORS);
  for (const { totals } of reports) {
    assertEquals([totals.copied + totals.unchanged, totals.failed, totals.pending], [IMAGES, 0, 0]);
  }
  const puts = destination.requests.filter(({ method, kind, path }) =>
    method === "PUT" && kind === "manifest" && !path.includes("sha256:")
  );
  assertEquals(puts.length, IMAGES);
  workers.images.forEach((image, seed) => assertHolds(destination, "mirror/app", `v${seed}`, image));
  await bury();
});
