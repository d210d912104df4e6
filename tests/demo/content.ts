/** What the demo copies, and where it is to be afterwards. */

import {
  buildArtifact,
  buildHelmChart,
  buildImage,
  buildIndex,
  buildLayer,
  buildMultiPlatform,
  type Image,
  pushImage,
} from "../images.ts";
import type { TestRegistry } from "../registry.ts";

/** An image by repository and tag, at the source and at the destination. */
export interface Place {
  /** Where it comes from. */
  from: readonly [repository: string, tag: string];
  /** Where it goes to. */
  to: readonly [repository: string, tag: string];
}

/** What the demo's config says, image by image. */
export const PLACES: readonly Place[] = [
  { from: ["library/web", "1.26"], to: ["mirror/web", "1.26"] },
  { from: ["library/web", "1.27"], to: ["mirror/web", "1.27"] },
  { from: ["library/web", "latest"], to: ["mirror/web", "latest"] },
  { from: ["library/worker", "v3"], to: ["mirror/worker", "stable"] },
  { from: ["team/tools", "nested"], to: ["mirror/tools", "nested"] },
  { from: ["team/chart", "2.1.0"], to: ["charts/one", "2.1.0"] },
  { from: ["team/chart", "2.1.0"], to: ["charts/two", "2.1.0"] },
  { from: ["team/model", "v1"], to: ["mirror/model", "v1"] },
];

const MEGABYTE = 1_000_000;

/** Puts the images into a registry, and returns them. */
export function fillRegistry(registry: TestRegistry): Image[] {
  const tagged: [repository: string, tag: string, image: Image][] = [
    ["library/web", "1.26", buildWeb(10)],
    ["library/web", "1.27", buildWeb(20)],
    ["library/web", "latest", buildWeb(20)],
    ["library/worker", "v3", buildImage({ seed: 30, layers: [base(), buildLayer(31, 9 * MEGABYTE)] })],
    ["team/tools", "nested", buildTools()],
    ["team/chart", "2.1.0", buildHelmChart(50)],
    ["team/model", "v1", buildArtifact({ artifactType: "application/vnd.demo.model", layerSize: MEGABYTE })],
  ];
  for (const [repository, tag, image] of tagged) pushImage(registry, repository, tag, image);
  return tagged.map(([, , image]) => image);
}

/** The layer that several images share. */
function base() {
  return buildLayer(1, 8 * MEGABYTE);
}

/** An image for three platforms. */
function buildWeb(seed: number): Image {
  const platforms = [
    { os: "linux", architecture: "amd64" },
    { os: "linux", architecture: "arm64" },
    { os: "linux", architecture: "arm", variant: "v7" },
  ];
  return buildIndex(
    platforms.map((platform, index) =>
      buildImage({
        seed: seed + index,
        platform,
        layers: [base(), buildLayer(seed + index, 3 * MEGABYTE)],
      })
    ),
  );
}

/** An index in an index, with attestations. */
function buildTools(): Image {
  const inner = buildMultiPlatform(["amd64", "s390x"], {
    seed: 40,
    layerSize: 2 * MEGABYTE,
    attestations: true,
  });
  return buildIndex([inner, buildImage({ seed: 45 })]);
}
