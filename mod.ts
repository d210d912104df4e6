/**
 * Copies container images between registries: many to many, through memory and network only, digest for digest.
 *
 * This is the core. It is built on `fetch` and WHATWG streams alone, so it runs wherever those exist; the command line
 * (`cli.ts`) and the stores on disk are built on top of it.
 *
 * {@linkcode parseConfig} makes a {@linkcode Config} of a text, whose rules {@linkcode mirror} carries out over
 * {@linkcode Registries}: it makes a {@linkcode Plan}, tells what happens by {@linkcode CopyEvent}s, and ends with a
 * {@linkcode Report}. What is remembered between runs lives in a {@linkcode Store}. What a runtime has of its own is passed in:
 * a {@linkcode Fetch} for each registry, a {@linkcode Clock}, a {@linkcode Hasher}, a {@linkcode CredentialSource}.
 *
 * @example Mirror one image
 * ```ts
 * import { mirror, Registries } from "@image-syncer/image-syncer";
 *
 * const credentials = () => Promise.resolve({ username: "robot", password: "secret" });
 * const registries = new Registries({ credentials });
 * const rules = [{ source: "alpine:3.20", destinations: ["registry.example.com/mirror/alpine"] }];
 * const report = await mirror(rules, { registries });
 * console.log(report.totals);
 * ```
 *
 * @module
 */

// The words of OCI.
export type { Descriptor, Digest, DigestOf, Platform } from "./src/oci/descriptor.ts";

// Registries, and what they need of the runtime.
export type { Clock } from "./src/registry/clock.ts";
export type { Fetch, FetchInit, SourceResponse } from "./src/registry/fetch.ts";
export type { Reference } from "./src/oci/reference.ts";
export type { CreateHasher, Hasher } from "./src/registry/hasher.ts";
export type { Challenge } from "./src/registry/login/challenge.ts";
export type { Credential, CredentialSource } from "./src/registry/login/credential.ts";
export { Registries } from "./src/registry/registries.ts";
export type { ChallengeMemory, Limits, RegistriesOptions, RegistryEvent } from "./src/registry/request.ts";

// Configs, as files and environments hold them.
export { type AuthEntry, type Config, ConfigError, type Rule } from "./src/mirror/config/config.ts";
export { parseConfig, type ParseConfigOptions } from "./src/mirror/config/config_text.ts";
export type { Environment } from "./src/mirror/config/environment_values.ts";
export type { NoticeTarget } from "./src/mirror/config/notice_target.ts";
export type { BelongingsPolicy } from "./src/mirror/rules/belongings_policy.ts";
export type { RuleDefaults } from "./src/mirror/rules/rules.ts";

// Mirroring: what there is to do, doing it, and what has become of it.
export type { CopyEvent, TaskStatus } from "./src/mirror/copy/copy_event.ts";
export type { CopyTask, Plan, PlanFailure, PlannedDestination } from "./src/mirror/plan/plan.ts";
export type { ByteCounts, Report, ReportDestination, ReportTask } from "./src/mirror/report.ts";
export { mirror, planOnly, runPlan } from "./src/mirror/run.ts";
export type { MirrorOptions } from "./src/mirror/run_context.ts";

// The memory between runs.
export { challengeMemory } from "./src/mirror/store/challenge_memory.ts";
export { MemoryStore } from "./src/mirror/store/memory_store.ts";
export type { Store, StoreEntry, StoreKey, StoreSetOptions, StoreValue } from "./src/mirror/store/store.ts";
