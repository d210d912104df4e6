/** What the tests of the mirror share: a source, some destinations, a run between them, and looks at what came of it. */

import type { Digest } from "../src/oci/descriptor.ts";
import type { Rule } from "../src/mirror/config/config.ts";
import type { CopyContext } from "../src/mirror/copy/copy_context.ts";
import type { PlanContext } from "../src/mirror/plan/image_planner.ts";
import { KnownBlobs } from "../src/mirror/copy/known_blobs.ts";
import type { CopyEvent } from "../src/mirror/copy/copy_event.ts";
import type { Report } from "../src/mirror/report.ts";
import { mirror } from "../src/mirror/run.ts";
import type { MirrorOptions } from "../src/mirror/run_context.ts";
import { MemoryStore } from "../src/mirror/store/memory_store.ts";
import { TransferSlots } from "../src/registry/transfer_slots.ts";
import type { RegistriesOptions } from "../src/registry/request.ts";
import { Registries } from "../src/registry/registries.ts";
import { assert, assertEquals } from "@std/assert";
import { FakeClock } from "./fake_clock.ts";
import { blobsOf, type Image, walkImage } from "./images.ts";
import {
  createNetwork,
  createRegistry,
  type Fetch,
  type Handler,
  type RegistryOptions,
  type TestRegistry,
} from "./registry.ts";

/** Host of the source. */
export const SOURCE = "source.test";
/** Host of the destination. */
export const DESTINATION = "destination.test";

/** Options of {@linkcode setUpMirror}. */
export interface MirrorSetupOptions {
  /** The source. */
  source?: RegistryOptions;
  /** The destination. */
  destination?: RegistryOptions;
  /** More registries by host. */
  others?: Readonly<Record<string, TestRegistry>>;
  /** What stands between the client and a registry, by host. */
  wrap?: Readonly<Record<string, (handler: Handler) => Handler>>;
  /** How the registries are reached besides. */
  registries?: RegistriesOptions;
}

/** Registries, and runs between them. */
export class MirrorSetup {
  /** Reached as {@linkcode SOURCE}. */
  readonly source: TestRegistry;
  /** Reached as {@linkcode DESTINATION}. */
  readonly destination: TestRegistry;
  /** Waits pass at once. */
  readonly clock: FakeClock = new FakeClock();
  /** Remembers from run to run. */
  readonly store: MemoryStore = new MemoryStore();
  /** What happened in all runs. */
  readonly events: CopyEvent[] = [];
  readonly #fetch: Fetch;
  readonly #options: MirrorSetupOptions;

  /** See {@linkcode setUpMirror}. */
  constructor(options: MirrorSetupOptions) {
    this.#options = options;
    this.source = createRegistry(options.source);
    this.destination = createRegistry(options.destination);
    const registries = { [SOURCE]: this.source, [DESTINATION]: this.destination, ...options.others };
    const hosts = Object.entries(registries).map(([host, registry]) => {
      const handler: Handler = (request) => registry.handler(request);
      return [`https://${host}`, options.wrap?.[host]?.(handler) ?? handler];
    });
    this.#fetch = createNetwork(Object.fromEntries(hosts));
  }

  /** A new way to these registries. */
  registries(options: RegistriesOptions = {}): Registries {
    return new Registries({
      fetchFor: () => this.#fetch,
      clock: this.clock,
      ...this.#options.registries,
      ...options,
    });
  }

  /** Mirrors rules written as source and destinations; nothing of an earlier run is known but the store. */
  async run(
    images: Readonly<Record<string, string | string[]>> | readonly Rule[],
    options: Partial<MirrorOptions> & { signal?: AbortSignal } = {},
  ): Promise<Report> {
    const { signal, ...rest } = options;
    const rules = Array.isArray(images) ? images : rulesOf(images as Record<string, string | string[]>);
    return await mirror(rules, {
      registries: this.registries(signal === undefined ? {} : { signal }),
      store: this.store,
      // The clock of the tests passes at once, and with it everybody's patience.
      patience: Infinity,
      onEvent: (event) => this.events.push(event),
      ...rest,
    });
  }

  /** What planning and copying need, for tests of less than a run. */
  context(options: Partial<CopyContext & PlanContext> = {}): CopyContext & PlanContext {
    return {
      registries: this.registries(),
      known: new KnownBlobs(),
      slots: new TransferSlots(5),
      store: this.store,
      now: () => this.clock.now(),
      emit: (event) => this.events.push(event),
      force: false,
      kept: new Map(),
      pass: 0,
      patience: Infinity,
      isStopping: () => false,
      createHasher: undefined,
      ...options,
    };
  }

  /** Events of one type, in order. */
  eventsOf<Type extends CopyEvent["type"]>(type: Type): Extract<CopyEvent, { type: Type }>[] {
    return this.events.filter((event): event is Extract<CopyEvent, { type: Type }> => event.type === type);
  }
}

/** A source, a destination, and what runs between them. */
export function setUpMirror(options: MirrorSetupOptions = {}): MirrorSetup {
  return new MirrorSetup(options);
}

/** Rules from sources and destinations, as a config has them. */
export function rulesOf(images: Readonly<Record<string, string | string[]>>): Rule[] {
  return Object.entries(images).map(([source, destinations]) => ({
    source,
    destinations: Array.isArray(destinations) ? destinations : [destinations],
  }));
}

/** Fails unless a repository holds an image to the byte: under its tag, every child, every blob. */
export function assertHolds(
  registry: TestRegistry,
  repository: string,
  reference: string | undefined,
  image: Image,
): void {
  const state = registry.state.repository(repository);
  for (const node of walkImage(image)) {
    const found = state.findManifest(node === image && reference !== undefined ? reference : node.digest);
    assert(found !== undefined, `"${repository}" lacks manifest "${node.digest}"`);
    assertEquals(found.bytes, node.bytes, `"${repository}" has other bytes of "${node.digest}"`);
    assertEquals(found.mediaType, node.mediaType);
  }
  for (const digest of blobsOf(image).keys()) {
    assert(state.blobs.has(digest), `"${repository}" lacks blob "${digest}"`);
  }
}

/** One blob that was brought to a repository by bytes, or by mounting. */
export interface Arrival {
  /** Its repository. */
  repository: string;
  /** The blob. */
  digest: Digest;
}

/** Blobs a registry was sent, in order. */
export function uploadsTo(registry: TestRegistry): Arrival[] {
  return arrivals(registry, "digest");
}

/** Blobs a registry mounted, in order. */
export function mountsAt(registry: TestRegistry): Arrival[] {
  return arrivals(registry, "mount");
}

function arrivals(registry: TestRegistry, parameter: "digest" | "mount"): Arrival[] {
  return registry.requests.flatMap(({ kind, status, path, repository }) => {
    const digest = new URLSearchParams(path.split("?")[1] ?? "").get(parameter);
    return kind === "upload" && status === 201 && digest !== null ? [{ repository, digest }] : [];
  });
}

/** Fails when a blob was sent to the same repository more than once. */
export function assertSentOnce(registry: TestRegistry): void {
  const sent = uploadsTo(registry).map(({ repository, digest }) => `${repository} ${digest}`);
  assertEquals(sent.length, new Set(sent).size, "a blob was sent twice to one repository");
}

/** Bytes of blobs a registry gave away. */
export function blobBytesFrom(registry: TestRegistry): number {
  return registry.requests.reduce((sum, { kind, bytesOut }) => sum + (kind === "blob" ? bytesOut : 0), 0);
}

/** Bytes of all blobs of some images, each counted once. */
export function blobBytesOf(...images: readonly Image[]): number {
  const blobs = new Map(images.flatMap((image) => [...blobsOf(image)]));
  return [...blobs.values()].reduce((sum, { size }) => sum + size, 0);
}

/** Where a request's body breaks off. */
export interface Cut {
  /** Bytes that still arrive. */
  after: number;
  /** Bytes that are still taken after that, but lost, as those in a proxy's buffers are; none unless told. */
  lost?: number;
}

/** Stands before a registry and breaks some request bodies off; `undefined` lets a request be. */
export function cutting(cutOf: (request: Request) => Cut | undefined): (handler: Handler) => Handler {
  return (handler) => (request) => {
    const cut = request.body === null ? undefined : cutOf(request);
    if (cut === undefined || request.body === null) return handler(request);
    return handler(new Request(request, { body: cutAfter(request.body, cut) }));
  };
}

function cutAfter(body: ReadableStream<Uint8Array>, { after, lost = 0 }: Cut): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let left = after + lost;
  const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
    while (left > 0) {
      const { value } = await reader.read();
      const arrived = value?.subarray(0, Math.max(0, left - lost)) ?? new Uint8Array();
      left -= Math.min(left, value?.length ?? left);
      if (arrived.length > 0) return controller.enqueue(arrived);
    }
    controller.error(new TypeError("connection reset by peer"));
    await reader.cancel();
  };
  return new ReadableStream<Uint8Array>({ pull, cancel: (reason) => reader.cancel(reason) }, {
    highWaterMark: 0,
  });
}
