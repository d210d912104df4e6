/** Tests of what is left of an image when only some platforms are wanted. */

import { assert, assertEquals } from "@std/assert";
import { filterPlatforms } from "../src/mirror/plan/platform_filter.ts";
import {
  type Descriptor,
  type Digest,
  MEDIA_TYPE_DOCKER_LIST,
  MEDIA_TYPE_OCI_INDEX,
} from "../src/oci/descriptor.ts";
import { type Content, parseContent } from "../src/oci/manifest.ts";
import {
  assemble,
  buildArtifact,
  buildImage,
  buildIndex,
  buildMultiPlatform,
  buildSchema1,
  encodeJson,
  type Format,
  type Image,
  pushImage,
} from "./images.ts";
import { digestBytes } from "./registry.ts";
import { type MirrorSetup, setUpMirror, SOURCE } from "./mirror_setup.ts";

interface Filtered {
  left: Content | undefined;
  rewritten: Map<Digest, Content>;
  setup: MirrorSetup;
}

async function filter(image: Image, ...platforms: string[]): Promise<Filtered> {
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", image);
  const source = setup.registries().open({ registry: SOURCE, repository: "from/image" }, "pull");
  const rewritten = new Map<Digest, Content>();
  const content = await parseContent(image.bytes, image.mediaType);
  return { left: await filterPlatforms(content, platforms, { source, rewritten }), rewritten, setup };
}

function entriesOf(content: Content | undefined): Descriptor[] {
  assert(content !== undefined);
  return JSON.parse(new TextDecoder().decode(content.bytes)).manifests;
}

function digestsOf(content: Content | undefined): string[] {
  return entriesOf(content).map(({ digest }) => digest);
}

function imageOf(architecture: string, variant?: string, format: Format = "oci"): Image {
  const platform = { os: "linux", architecture, ...(variant !== undefined && { variant }) };
  return buildImage({ seed: architecture.length + (variant?.length ?? 0), platform, format });
}

const AMD = imageOf("amd64");
const ARM = imageOf("arm64");

Deno.test("filterPlatforms() leaves an index as it is, to the byte, when all of it is wanted", async () => {
  const index = buildMultiPlatform(["amd64", "arm64"]);
  for (const platforms of [["linux/amd64", "linux/arm64"], ["linux/*"], ["*/*"]]) {
    const { left, rewritten, setup } = await filter(index, ...platforms);
    assertEquals(left?.bytes, index.bytes);
    assertEquals(rewritten.size, 0);
    assertEquals(setup.source.requests.length, 0);
  }
});

for (
  const [format, mediaType] of [["oci", MEDIA_TYPE_OCI_INDEX], ["docker", MEDIA_TYPE_DOCKER_LIST]] as const
) {
  Deno.test(`filterPlatforms() leaves the entries that are wanted of an index in the ${format} format`, async () => {
    const index = buildMultiPlatform(["amd64", "arm64", "s390x"], {
      format,
      annotations: { note: "kept" },
      extraFields: { "x-field": 1 },
    });
    const { left, rewritten } = await filter(index, "linux/s390x", "linux/amd64");
    assertEquals(digestsOf(left), [index.children[0]?.digest, index.children[2]?.digest]);
    assertEquals(left?.descriptor.mediaType, mediaType);
    const before = JSON.parse(new TextDecoder().decode(index.bytes));
    const after = JSON.parse(new TextDecoder().decode(left?.bytes));
    assertEquals(after, { ...before, manifests: [before.manifests[0], before.manifests[2]] });
    assertEquals([...rewritten.values()], [left]);
  });

  Deno.test(`filterPlatforms() tells variants apart in an index in the ${format} format`, async () => {
    const index = buildMultiPlatform(["arm/v6", "arm/v7", "arm64"], { format });
    const [six, seven, eight] = index.children.map(({ digest }) => digest);
    assertEquals(digestsOf((await filter(index, "linux/arm/v7")).left), [seven]);
    assertEquals(digestsOf((await filter(index, "linux/arm")).left), [six, seven]);
    assertEquals(digestsOf((await filter(index, "linux/arm64/v8")).left), [eight]);
  });
}

Deno.test("filterPlatforms() gives the same bytes every time", async () => {
  const index = buildMultiPlatform(["amd64", "arm64", "s390x"], { attestations: true });
  const [one, two] = [await filter(index, "linux/arm64"), await filter(index, "linux/arm64")];
  assertEquals(one.left, two.left);
});

Deno.test("filterPlatforms() leaves nothing when nothing is wanted", async () => {
  assertEquals((await filter(buildIndex([AMD, ARM]), "linux/s390x")).left, undefined);
  assertEquals((await filter(buildIndex([AMD, ARM], { attestations: true }), "windows/*")).left, undefined);
});

Deno.test("filterPlatforms() keeps the attestations of what it keeps, and no others", async () => {
  const index = buildIndex([AMD, ARM], { attestations: true });
  const { left } = await filter(index, "linux/arm64");
  assertEquals(digestsOf(left), [ARM.digest, index.children[3]?.digest]);
});

Deno.test("filterPlatforms() filters an index inside an index", async () => {
  const inner = buildIndex([AMD, ARM]);
  const other = imageOf("s390x");
  const { left, rewritten } = await filter(buildIndex([inner, other]), "linux/arm64");
  const [entry, ...rest] = entriesOf(left);
  assertEquals(rest, []);
  const nested = rewritten.get(entry?.digest ?? "");
  assertEquals(digestsOf(nested), [ARM.digest]);
  assertEquals(entry?.size, nested?.bytes.length);
  assertEquals(rewritten.size, 2);
});

Deno.test("filterPlatforms() leaves an index inside an index as it is when all of that is wanted", async () => {
  const inner = buildIndex([AMD]);
  const { left } = await filter(buildIndex([inner, imageOf("s390x")]), "linux/amd64");
  assertEquals(digestsOf(left), [inner.digest]);
});

Deno.test("filterPlatforms() looks into the configs where the entries say no platform", async () => {
  const index = buildIndex([AMD, ARM], { withoutPlatforms: true });
  assertEquals(digestsOf((await filter(index, "linux/arm64")).left), [ARM.digest]);
});

Deno.test("filterPlatforms() keeps entries that belong to no platform", async () => {
  const artifact = buildArtifact({ artifactType: "application/vnd.test.thing" });
  const { left } = await filter(buildIndex([AMD, ARM, artifact]), "linux/amd64");
  assertEquals(digestsOf(left), [AMD.digest, artifact.digest]);
});

Deno.test("filterPlatforms() takes a single image or leaves it, by its config", async () => {
  for (const format of ["oci", "docker"] as const) {
    const image = imageOf("arm", "v7", format);
    assertEquals((await filter(image, "linux/arm/v7")).left?.bytes, image.bytes);
    assertEquals((await filter(image, "linux/arm/v6")).left, undefined);
    assertEquals((await filter(image, "linux/amd64")).left, undefined);
  }
});

Deno.test("filterPlatforms() takes what has no platform", async () => {
  for (const image of [buildSchema1(), buildArtifact(), buildArtifact({ config: "text" })]) {
    assertEquals((await filter(image, "linux/s390x")).left?.bytes, image.bytes);
  }
});

Deno.test("filterPlatforms() takes what has a config that is no JSON", async () => {
  const image = buildArtifact({ config: {} });
  const text = new TextDecoder().decode(image.bytes);
  const { config } = JSON.parse(text);
  const blob = [...buildImage({ seed: 77 }).blobs.values()].find(({ size }) => size === 1024);
  assert(blob !== undefined);
  const broken = assemble(
    {
      ...JSON.parse(text),
      mediaType: image.mediaType,
      config: { ...config, digest: blob.digest, size: blob.size },
    },
    [...image.blobs.values(), blob],
  );
  assertEquals((await filter(broken, "linux/s390x")).left?.bytes, broken.bytes);
});

Deno.test("filterPlatforms() leaves one entry of an index that lists a manifest for two platforms", async () => {
  const twice = buildIndex([AMD], {
    sparseEntries: [{ ...AMD.descriptor, platform: { os: "linux", architecture: "arm64" } }],
  });
  for (const architecture of ["amd64", "arm64"]) {
    const { left } = await filter(twice, `linux/${architecture}`);
    assertEquals(entriesOf(left).map(({ platform }) => platform?.architecture), [architecture]);
  }
});

Deno.test("fault 4: filterPlatforms() looks into an index of a vendor's own media type", async () => {
  const vendor = (index: Image): Image => {
    const fields = {
      ...JSON.parse(new TextDecoder().decode(index.bytes)),
      mediaType: "application/vnd.acme.set+json",
    };
    const bytes = encodeJson(fields);
    const [digest, mediaType] = [digestBytes(bytes), fields.mediaType];
    return { ...index, bytes, digest, mediaType, descriptor: { mediaType, digest, size: bytes.length } };
  };
  const inner = vendor(buildIndex([AMD, ARM]));
  assertEquals(digestsOf((await filter(inner, "linux/arm64")).left), [ARM.digest]);
  const carried = { ...inner.descriptor, data: btoa(String.fromCharCode(...inner.bytes)) };
  const outer = buildIndex([{ ...inner, descriptor: carried }]);
  const { left, rewritten } = await filter(outer, "linux/arm64");
  const [entry] = entriesOf(left);
  assertEquals([entry?.data, digestsOf(rewritten.get(entry?.digest ?? ""))], [undefined, [ARM.digest]]);
});
