/** Runs one line of the fault table between two registries and checks everything that must hold. */

import { assert, assertEquals } from "@std/assert";
import type { Report } from "../../src/mirror/report.ts";
import type { FaultRule } from "../fault_proxy.ts";
import { caseImage, type FaultCase, ruleOf } from "./cases.ts";
import {
  bytesOf,
  fill,
  holdingOf,
  LabClock,
  type LabRegistry,
  run,
  sabotage,
  SHORT_LIMITS,
} from "./workbench.ts";

/** Blob bytes a source may serve for each byte that is needed, when every fault is a single cut (issue 6). */
const WASTE = 1.02;

/** Two registries for one run. */
export interface CasePair {
  /** Where the image is. */
  source: LabRegistry;
  /** Where it goes. */
  destination: LabRegistry;
  /** Repository at both; `app` unless told. */
  repository?: string;
  /** What strikes, where it is not what the line says. */
  rule?: FaultRule;
  /** Whether blobs go over sockets of our own. */
  usesSockets?: boolean;
}

/** It is the same for every line, and hashing it takes time. */
const IMAGE = caseImage();

/**
 * Mirrors an image under a fault.
 *
 * @throws {AssertionError} when the image was to be copied and is not, is wrong or incomplete, or cost too many bytes.
 */
export async function runCase(line: FaultCase, pair: CasePair): Promise<void> {
  const { source, destination, repository = "app", rule = ruleOf(line), usesSockets = false } = pair;
  await fill(source, repository, IMAGE);
  source.proxy.traffic.reset();
  const clock = new LabClock();
  const waits = line.repeat === "once" ? 1 : line.repeat === "three times" ? 3 : Infinity;
  sabotage(line.side === "source" ? source : destination, clock, [rule], waits);
  const report = await run(source, [destination], {
    clock,
    repository,
    usesSockets,
    ...(line.isSilent && { limits: { ...SHORT_LIMITS, ...(line.repeat === "for ever" && { attempts: 2 }) } }),
  });
  await checkOutcome(line, report, { destination, repository });
  if (line.repeat === "once" && !line.isLie) checkWaste(line, source);
}

async function checkOutcome(
  line: FaultCase,
  { totals, tasks, rules }: Report,
  { destination, repository }: { destination: LabRegistry; repository: string },
): Promise<void> {
  const isCopied = totals.copied === 1;
  const why = tasks[0]?.error ?? rules[0]?.error ?? "";
  assertEquals(totals.copied + totals.failed + totals.rulesFailed, 1, why);
  if (line.outcome !== "either") assertEquals(isCopied ? "copied" : "failed", line.outcome, why);
  if (!isCopied) assert(why.startsWith("Cannot "), why);
  assertEquals(await holdingOf(destination, repository, IMAGE), isCopied ? "whole" : "nothing", why);
}

function checkWaste(line: FaultCase, source: LabRegistry): void {
  const { served } = source.proxy.traffic.of("blob");
  const needed = bytesOf(IMAGE);
  assert(served <= needed * WASTE, `${line.name}: the source served ${served} bytes of ${needed}`);
}
