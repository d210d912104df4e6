/** Registries as they are: an image is copied into and out of each, in fair weather and with every transfer cut once. */

import { assertEquals } from "@std/assert";
import { buildImage, buildIndex, buildLayer, type Image } from "../images.ts";
import type { FaultRule } from "../fault_proxy.ts";
import type { Quirks, RegistryOptions } from "../registry.ts";
import { fill, holdingOf, type LabOptions, openMemoryRegistry, run } from "./workbench.ts";

/** A registry with something odd about it. */
interface OddRegistry extends RegistryOptions {
  /** Whose oddity it is, and what. */
  name: string;
  /** What is odd. */
  quirks: Quirks;
}

const MEGABYTE = 1024 * 1024;

const REGISTRIES: readonly OddRegistry[] = [
  { name: "old registries: HEAD without digest", quirks: { headWithoutDigest: true } },
  { name: "old registries: HEAD without length", quirks: { headWithoutLength: true } },
  { name: "old registries: no Range", quirks: { noRangeRequests: true } },
  {
    name: "old distribution: upload state in Location",
    quirks: { uploadState: true, locationAbsolute: true },
  },
  { name: "distribution: 400 for missing blobs of a manifest", quirks: { missingReferenceStatus: 400 } },
  { name: "Docker Hub: foreign origin of a mount refused", quirks: { refuseForeignOrigin: true } },
  { name: "Docker Hub: mounts answered with an upload", quirks: { refuseMount: true } },
  { name: "Quay: mount without from refused", quirks: { mountWithoutFromStatus: 400 } },
  { name: "ACR: blobs of more than 20 MB in chunks only (here 2 MB)", quirks: { maxPutBytes: 2 * MEGABYTE } },
  { name: "ACR: chunks of a minimum length", quirks: { chunkMinLength: MEGABYTE } },
  { name: "proxies: requests limited in size", quirks: { maxRequestBytes: 2 * MEGABYTE } },
  { name: "Harbor: a blob in one request is an upload", quirks: { noSinglePost: true } },
  {
    name: "ECR: 201 for chunks, mount of unnamed blobs refused",
    quirks: { patchStatus: 201, mountNeedsManifest: true },
  },
  { name: "ECR: pages of at most 1000", quirks: { maxPageParameter: 1000, pageSize: 1 } },
  { name: "ECR: immutable tags", quirks: { immutableTags: true } },
  { name: "GHCR: the last chunk wins", quirks: { lastPatchWins: true } },
  {
    name: "Google Artifact Registry: no chunks, Content-Length needed",
    quirks: { noChunkedUpload: true, requireContentLength: true },
  },
  { name: "Artifactory: 403 for what is missing", quirks: { missingStatus: 403 } },
  { name: "registries without upload status", quirks: { noUploadStatus: true } },
  { name: "registries that forget a chunk that broke off", quirks: { dropPartialChunk: true } },
  { name: "registries without referrers", quirks: { noReferrers: true, noTagParameters: true } },
  { name: "registries strict about Accept", quirks: { strictAccept: true } },
  { name: "container-registry: PATCH alone (fault 50)", quirks: { patchOnly: "unsupported" } },
  {
    name: "registries with PATCH alone that refuse PUT with 405 (fault 50)",
    quirks: { patchOnly: "refused" },
  },
  { name: "registries that ignore bytes in PUT (fault 50)", quirks: { patchOnly: "ignored" } },
  { name: "registries whose mounts are not true (fault 58)", quirks: { falseMounts: true } },
  { name: "registries whose POSTs are not true (fault 58)", quirks: { falsePosts: true } },
  { name: "load balancers that lose uploads (fault 65)", quirks: { loseUploadsWith: 404 } },
  { name: "proxies that know no HEAD (fault 48)", quirks: { headStatus: 405 } },
  { name: "crane's registry: Range refused (fault 66)", quirks: { rangeStatus: 416 } },
  { name: "registries that answer Range with nonsense (fault 66)", quirks: { rangeStatus: 206 } },
  { name: "Apache: blobs labelled x-gzip (fault 53)", quirks: { blobEncoding: "x-gzip" } },
  { name: "static hosting: compressed JSON (fault 53)", quirks: { compressJson: true } },
  { name: "distribution: sha256 for everything (fault 57)", quirks: { canonicalSha256: true } },
  { name: "registries that answer PUT with 204 (fault 72)", quirks: { manifestStatus: 204 } },
  { name: "registries without Link (fault 1)", quirks: { noTagLinks: true } },
  {
    name: "Quay: 413 for n=1000 (fault 52)",
    quirks: { maxPageParameter: 100, pageSize: 1, pageParameterStatus: 413 },
  },
  { name: "registries that refuse to delete", quirks: { refuseDelete: true, refuseTagDelete: true } },
];

/** Two repositories that share a blob which is larger than any of the limits above. */
const REPOSITORIES = ["app", "team/app"];

function oddImage(): Image {
  const layers = [buildLayer(1, 5 * MEGABYTE), buildLayer(2, 70_000)];
  return buildIndex([buildImage({ layers }), buildImage({ seed: 3 })]);
}

const IMAGE = oddImage();

/** Each transfer of a blob is cut in its middle once. */
const CUTS: readonly FaultRule[] = [
  {
    fault: { type: "reset", at: "answer-body" },
    isPerUrl: true,
    matches: ({ kind, method }) => kind === "blob" && method === "GET",
  },
  {
    fault: { type: "reset", at: "request-body" },
    isPerUrl: true,
    urls: 6,
    matches: ({ kind, method }) => kind === "upload" && method !== "POST",
  },
];

for (const odd of REGISTRIES) {
  for (const weather of ["fair weather", "every transfer cut once"] as const) {
    const plan = weather === "fair weather" ? [] : CUTS;
    Deno.test(`mirror() copies into ${odd.name}, ${weather}`, () => copy({ quirks: {} }, odd, plan));
    Deno.test(`mirror() copies out of ${odd.name}, ${weather}`, () => copy(odd, { quirks: {} }, plan));
  }
}

async function copy(
  from: RegistryOptions,
  to: RegistryOptions,
  plan: readonly FaultRule[],
  options: LabOptions = {},
): Promise<void> {
  await using source = await openMemoryRegistry(from);
  await using destination = await openMemoryRegistry(to);
  for (const repository of REPOSITORIES) await fill(source, repository, IMAGE);
  source.proxy.setPlan(plan);
  destination.proxy.setPlan(plan);
  const report = await run(source, [destination], { repository: REPOSITORIES, selection: "", ...options });
  assertEquals(report.tasks.map(({ error }) => error ?? ""), ["", ""]);
  assertEquals(report.rules, []);
  for (const repository of REPOSITORIES) {
    assertEquals(await holdingOf(destination, repository, IMAGE), "whole");
  }
  const again = await run(source, [destination], { repository: REPOSITORIES, selection: "", ...options });
  assertEquals(again.totals.unchanged, 2, "a second run has nothing to do");
}
