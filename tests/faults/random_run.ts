/** One run of random images under random faults from a seed, and what must hold after it. */

import { assert, assertEquals } from "@std/assert";
import type { Report } from "../../src/mirror/report.ts";
import {
  blobsOf,
  buildImage,
  buildIndex,
  buildLayer,
  buildRandomImage,
  createRandom,
  type Image,
} from "../images.ts";
import type { Fault } from "../fault_proxy.ts";
import { PASSING_FAULTS, randomFaults } from "./fault.ts";
import { TagWatch } from "./watch.ts";
import {
  bytesOf,
  fill,
  holdingOf,
  type LabRegistry,
  LONG_LIMITS,
  openMemoryRegistry,
  run,
} from "./workbench.ts";

/** A kind of weather. */
export interface Weather {
  /** How likely a request to the source is struck. */
  source: number;
  /** How likely a request to a destination is struck. */
  destination: number;
  /** How often one URL is struck in a row at most. */
  inARow: number;
  /** What may strike. */
  faults: readonly Fault[];
  /** Attempts a request gets, where they differ from the default. */
  attempts?: number;
}

const CUTS = PASSING_FAULTS.filter(({ type }) => type === "reset" || type === "close");

/** Single cuts alone: everything must be copied, with hardly a byte more than needed. */
export const CUTS_ALONE: Weather = { source: 0.3, destination: 0.2, inARow: 1, faults: CUTS };
/** Everything that passes, up to three times in a row: everything must be copied. */
export const ROUGH: Weather = { source: 0.25, destination: 0.25, inARow: 3, faults: PASSING_FAULTS };
/** So much that images fail: none may be wrong. */
export const HOPELESS: Weather = {
  source: 0.3,
  destination: 0.4,
  inARow: 50,
  faults: PASSING_FAULTS,
  attempts: 2,
};

/** What is mirrored, by repository. */
type Images = ReadonlyMap<string, Image>;

/**
 * Mirrors three images to two registries under a kind of weather.
 *
 * @returns How many images were copied and how many failed.
 * @throws {AssertionError} when a report and what is there differ, a tag ever pointed at something incomplete, an image
 * failed that had no need to, or cuts alone cost more than 1.02 bytes at the source for each that was needed.
 */
export async function randomRun(seed: number, weather: Weather): Promise<Report["totals"]> {
  const images = randomImages(seed);
  const [first, second] = [new TagWatch(), new TagWatch()];
  // One registry refuses manifests that name what is not there, the other takes anything.
  const lax = { allowSparse: true, allowMissingBlobs: true };
  await using source = await openMemoryRegistry();
  await using strict = await openMemoryRegistry({ intercept: first.intercept });
  await using careless = await openMemoryRegistry({ ...lax, intercept: second.intercept });
  for (const [repository, image] of images) await fill(source, repository, image);
  const { inARow, faults, attempts } = weather;
  source.proxy.setPlan(randomFaults(seed, { chance: weather.source, inARow, faults }));
  for (const [index, { proxy }] of [strict, careless].entries()) {
    proxy.setPlan(randomFaults(seed + 1 + index, { chance: weather.destination, inARow, faults }));
  }
  const report = await run(source, [strict, careless], {
    repository: [...images.keys()],
    limits: { ...LONG_LIMITS, ...(attempts !== undefined && { attempts }) },
  });
  assertEquals([...first.broken, ...second.broken], []);
  await checkReport(report, images, [strict, careless]);
  if (weather !== HOPELESS) {
    assertEquals(report.totals.failed + report.totals.rulesFailed, 0, errorsOf(report));
  }
  if (weather === CUTS_ALONE) checkWaste(source, images);
  return report.totals;
}

/** Random graphs, and one with a blob that is sent as a stream, cut off and gone on with. */
function randomImages(seed: number): Images {
  const random = createRandom(seed);
  const number = () => Math.floor(random() * 2 ** 32);
  const layers = [buildLayer(number() % 1000, 1_100_000 + number() % 900_000), buildLayer(number() % 20)];
  return new Map([
    ["app", buildRandomImage(number())],
    ["team/app", buildRandomImage(number())],
    ["large", buildIndex([buildImage({ layers }), buildImage({ seed: number() % 50 })])],
  ]);
}

async function checkReport(
  report: Report,
  images: Images,
  registries: readonly LabRegistry[],
): Promise<void> {
  for (const [repository, image] of images) {
    for (const registry of registries) {
      const status = statusOf(report, `${registry.proxy.host}/${repository}:v1`);
      const holding = await holdingOf(registry, repository, image);
      assert(
        status === "copied" || status === "failed" || status === "unchanged",
        `${repository}: ${status}`,
      );
      // A failure may be a lost answer to what has succeeded; what is there is then whole all the same.
      if (status !== "failed") assertEquals(holding, "whole", `${repository} is ${status}`);
    }
  }
}

function statusOf(report: Report, reference: string): string {
  const found = report.tasks.flatMap(({ destinations }) => destinations)
    .find((destination) => destination.reference === reference);
  return found?.status ?? (report.rules.length > 0 ? "failed" : "missing");
}

function errorsOf({ tasks, rules }: Report): string {
  return [...tasks, ...rules].map(({ error }) => error ?? "").join("\n");
}

function checkWaste({ proxy }: LabRegistry, images: Images): void {
  const once = new Map([...images.values()].flatMap((image) => [...blobsOf(image)]));
  const needed = [...once.values()].reduce((sum, { size }) => sum + size, 0);
  const most = [...images.values()].reduce((sum, image) => sum + bytesOf(image), 0);
  const { served } = proxy.traffic.of("blob");
  // What several repositories share is read at most once for each of them.
  assert(served <= 1.02 * most, `the source served ${served} bytes; ${needed} to ${most} were needed`);
}
