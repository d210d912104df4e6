/**
 * Copies container images between registries: many to many, through memory and network only, digest for digest.
 *
 * This is the core. It is built on `fetch` and WHATWG streams alone, so it runs wherever those exist; the command line
 * (`cli.ts`) and the stores on disk are built on top of it.
 *
 * The walk, each step a module below: the words (references, digests, manifests) → the wire ({@linkcode Registries},
 * {@linkcode Repository}) → {@linkcode parseConfig} → {@linkcode expandRule} → {@linkcode makePlan} →
 * {@linkcode copyTask} → {@linkcode mirror} → {@linkcode Report}.
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

export * from "./src/oci/descriptor.ts";
export * from "./src/oci/manifest.ts";
export * from "./src/oci/platform.ts";
export * from "./src/oci/printable.ts";
export * from "./src/oci/reference.ts";
export * from "./src/registry/login/login.ts";
export * from "./src/registry/login/token_service.ts";
export * from "./src/registry/stream/blob_source.ts";
export * from "./src/registry/stream/body.ts";
export * from "./src/registry/stream/buffer_pool.ts";
export * from "./src/registry/login/challenge.ts";
export * from "./src/registry/clock.ts";
export * from "./src/registry/login/credential.ts";
export * from "./src/registry/fetch.ts";
export * from "./src/registry/gate.ts";
export * from "./src/registry/hasher.ts";
export * from "./src/registry/registry_error.ts";
export * from "./src/registry/stream/shared_source.ts";
export * from "./src/registry/repository.ts";
export * from "./src/registry/repository_lists.ts";
export * from "./src/registry/repository_requests.ts";
export * from "./src/registry/repository_uploads.ts";
export * from "./src/registry/request.ts";
export * from "./src/registry/abilities.ts";
export * from "./src/registry/connection.ts";
export * from "./src/registry/once.ts";
export * from "./src/registry/registries.ts";
export * from "./src/registry/registry.ts";
export * from "./src/registry/retry.ts";
export * from "./src/registry/transfer_slots.ts";
export * from "./src/registry/upload_session.ts";
export * from "./src/mirror/config/config.ts";
export * from "./src/mirror/config/config_text.ts";
export * from "./src/mirror/config/environment_values.ts";
export * from "./src/mirror/config/json_lines.ts";
export * from "./src/mirror/config/notice_target.ts";
export * from "./src/mirror/plan/rules.ts";
export * from "./src/mirror/plan/platform_filter.ts";
export * from "./src/mirror/plan/plan.ts";
export * from "./src/mirror/copy/known_blobs.ts";
export * from "./src/mirror/copy/copy_context.ts";
export * from "./src/mirror/copy/blob_reading.ts";
export * from "./src/mirror/copy/blob_upload.ts";
export * from "./src/mirror/copy/blob_delivery.ts";
export * from "./src/mirror/copy/blob_courier.ts";
export * from "./src/mirror/plan/look.ts";
export * from "./src/mirror/plan/absence.ts";
export * from "./src/mirror/copy/manifest_reader.ts";
export * from "./src/mirror/copy/destination_walk.ts";
export * from "./src/mirror/copy/image_copy.ts";
export * from "./src/mirror/run.ts";
export * from "./src/mirror/plan/shard.ts";
export * from "./src/mirror/report.ts";
export * from "./src/mirror/store/store.ts";
export * from "./src/mirror/store/challenge_memory.ts";
