/** What is copied between real registries: real images where they are at hand, and always one built image of every shape. */

import {
  buildArtifact,
  buildHelmChart,
  buildImage,
  buildIndex,
  buildMultiPlatform,
  buildSchema1,
  pushOverHttp,
} from "../images.ts";
import { readLayout } from "../oci_layout.ts";
import { type RegistryProcess, TAKES_SCHEMA_1 } from "./registry_process.ts";
import type { PlacedImage } from "./skopeo.ts";

/** Real images lie beside the repository, where they lie at all. */
const TESTDATA = new URL("../../../shared/testdata/", import.meta.url);

/** Every shape that docker-registry can hold, one repository each. */
export function builtImages(): PlacedImage[] {
  const platforms = buildMultiPlatform(["amd64", "arm64", "arm/v7"], { layerSize: 4096, attestations: true });
  const docker = buildMultiPlatform(["amd64", "s390x"], { seed: 50, format: "docker" });
  const nested = buildIndex([platforms, buildImage({ seed: 70 })]);
  const image = buildImage({ seed: 2, layers: 3, layerSize: 200_000 });
  return [
    { repository: "built/image", tag: "v1", image },
    { repository: "built/image", tag: "v2", image: buildImage({ seed: 3, format: "docker" }) },
    { repository: "built/image", tag: "latest", image },
    // From 4 MiB on blobs take another way than smaller ones.
    { repository: "built/large", tag: "v1", image: buildImage({ seed: 4, layers: 3, layerSize: 5_000_000 }) },
    { repository: "built/platforms", tag: "v1", image: platforms },
    { repository: "built/docker-list", tag: "v1", image: docker },
    { repository: "built/nested", tag: "v1", image: nested },
    {
      repository: "built/artifact",
      tag: "v1",
      image: buildArtifact({ artifactType: "application/vnd.test.thing" }),
    },
    { repository: "built/chart", tag: "1.0.0", image: buildHelmChart(5) },
    {
      repository: "built/no-platforms",
      tag: "v1",
      image: buildIndex([buildImage({ seed: 8 }), buildArtifact({ seed: 9 })], { withoutPlatforms: true }),
    },
    ...(TAKES_SCHEMA_1
      ? [{
        repository: "built/schema1",
        tag: "old",
        image: buildSchema1({ name: "built/schema1", tag: "old" }),
      }]
      : []),
  ];
}

/** The real images; none, and a line on standard error, where the folder is absent. */
export async function realImages(): Promise<PlacedImage[]> {
  try {
    const folders = ["multi-platform", "busybox", "shapes"];
    const placed = await Promise.all(folders.map((name) => readFolder(name, `real/${name}`)));
    return [...placed.flat(), ...await readSignatures()];
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.error(`No real images at "${TESTDATA.pathname}": going on with built ones`);
    return [];
  }
}

/** Each cosign signature belongs into the repository of what it signs, under the name of its folder. */
async function readSignatures(): Promise<PlacedImage[]> {
  const placed: PlacedImage[] = [];
  for await (const { name } of Deno.readDir(new URL("signatures/", TESTDATA))) {
    placed.push(...await readFolder(`signatures/${name}`, "real/multi-platform", `${name}.sig`));
  }
  return placed;
}

async function readFolder(name: string, repository: string, tag?: string): Promise<PlacedImage[]> {
  const entries = await readLayout(new URL(`${name}/`, TESTDATA));
  return entries.map((entry, index) => ({
    repository,
    tag: tag ?? entry.tag ?? `untagged-${index}`,
    image: entry.image,
  }));
}

/** Puts images into a registry. */
export async function pushAll(registry: RegistryProcess, images: readonly PlacedImage[]): Promise<void> {
  for (const { repository, tag, image } of images) {
    await pushOverHttp(registry.fetch, registry.url, repository, tag, image);
  }
}
