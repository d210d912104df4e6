/** Tests of the image builders and of the layouts on disk. */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import {
  blobsOf,
  buildAttestation,
  buildHelmChart,
  buildImage,
  buildIndex,
  buildMultiPlatform,
  buildRandomImage,
  emptyLayer,
  foreignLayer,
  type Image,
  largeLayer,
  pushImage,
  pushOverHttp,
  sha512Layer,
  walkImage,
} from "./images.ts";
import { pushLayout, readLayout } from "./oci_layout.ts";
import { createRegistry, digestBytes, generatedBytes, generatedContent } from "./registry.ts";
import { readAll } from "./registry/blob_content.ts";

const BASE = "https://registry.test";
const TESTDATA = new URL("../../shared/testdata/", import.meta.url);

function parse(image: Image): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(image.bytes));
}

function isThere(folder: URL): boolean {
  try {
    return Deno.statSync(folder).isDirectory;
  } catch {
    console.warn(
      `not tested: there is no "${folder.pathname.split("/").slice(-3).join("/")}" beside this checkout`,
    );
    return false;
  }
}

Deno.test("buildImage() gives the same image for the same seed, and no other", () => {
  assertEquals(buildImage({ seed: 3 }).digest, buildImage({ seed: 3 }).digest);
  assertNotEquals(buildImage({ seed: 3 }).digest, buildImage({ seed: 4 }).digest);
  assertEquals(buildImage().digest, digestBytes(buildImage().bytes));
});

Deno.test("buildImage() spells Docker's media types when asked", () => {
  const { mediaType, config, layers } = parse(buildImage({ format: "docker", layers: 1 }));
  assertEquals(mediaType, "application/vnd.docker.distribution.manifest.v2+json");
  assertEquals((config as { mediaType: string }).mediaType, "application/vnd.docker.container.image.v1+json");
  const type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
  assertEquals((layers as { mediaType: string }[]).map((layer) => layer.mediaType), [type]);
});

Deno.test("buildImage() takes layers out of the ordinary", () => {
  const layers = [emptyLayer(), sha512Layer(1), foreignLayer(2), largeLayer(3, 300_000)];
  const image = buildImage({ layers });
  const sizes = (parse(image).layers as { size: number }[]).map(({ size }) => size);
  assertEquals(sizes, [0, 1024, 1024, 300_000]);
  assertEquals(image.blobs.size, 4);
  assert([...image.blobs.keys()].some((digest) => digest.startsWith("sha512:")));
});

Deno.test("buildIndex() lists its children, with attestations that name their image", () => {
  const image = buildImage();
  const index = buildIndex([image], { attestations: true, annotations: { a: "b" } });
  const attestation = buildAttestation(image, 0);
  assertEquals(parse(index).manifests, [image.descriptor, attestation.descriptor]);
  assertEquals(attestation.descriptor.annotations?.["vnd.docker.reference.digest"], image.digest);
  assertEquals(attestation.descriptor.platform, { architecture: "unknown", os: "unknown" });
});

Deno.test("walkImage() gives children before parents, each once", () => {
  const inner = buildMultiPlatform(["amd64", "arm/v7"]);
  const outer = buildIndex([inner, ...inner.children, buildHelmChart()], { withoutPlatforms: true });
  const order = walkImage(outer).map(({ digest }) => digest);
  assertEquals(order.length, 5);
  assertEquals(order.slice(2), [inner.digest, buildHelmChart().digest, outer.digest]);
});

Deno.test("buildRandomImage() gives graphs that a registry takes", async () => {
  const registry = createRegistry();
  const shapes = new Set<number>();
  for (let seed = 0; seed < 60; seed++) {
    const image = buildRandomImage(seed);
    assertEquals(buildRandomImage(seed).digest, image.digest);
    await pushOverHttp(registry.fetch, BASE, `random/r${seed}`, "v1", image);
    shapes.add(walkImage(image).length);
  }
  assert(shapes.size > 5);
});

Deno.test("pushImage() leaves the same state as pushOverHttp()", async () => {
  const image = buildIndex([buildMultiPlatform(["amd64", "arm64"]), buildHelmChart()], {
    attestations: true,
  });
  const [direct, pushed] = [createRegistry(), createRegistry()];
  pushImage(direct, "a/b", "v1", image);
  await pushOverHttp(pushed.fetch, BASE, "a/b", "v1", image);
  const [one, other] = [direct.state.repository("a/b"), pushed.state.repository("a/b")];
  assertEquals(new Map(one.manifests), new Map(other.manifests));
  assertEquals([...one.blobs.keys()].sort(), [...other.blobs.keys()].sort());
  assertEquals([...one.tags], [...other.tags]);
});

Deno.test("pushOverHttp() sends no blob twice", async () => {
  const registry = createRegistry();
  const image = buildImage();
  await pushOverHttp(registry.fetch, BASE, "a/b", "v1", image);
  await pushOverHttp(registry.fetch, BASE, "a/b", "v2", image);
  assertEquals(registry.count({ method: "PUT", kind: "upload" }), image.blobs.size);
});

Deno.test("generatedContent() gives the same bytes whole, in part, and all at once", async () => {
  const content = generatedContent(11, 200_000);
  const bytes = generatedBytes(11, 200_000);
  assertEquals(await readAll(content.stream()), bytes);
  assertEquals(await readAll(content.stream(65_000, 140_000)), bytes.slice(65_000, 140_000));
  assertEquals(content.digest, digestBytes(bytes));
  assertNotEquals(bytes.slice(0, 65536), bytes.slice(65536, 131072));
});

Deno.test("readLayout() reads what a layout holds, with its tags", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const image = buildIndex([buildImage()], { sparseEntries: [buildImage({ seed: 2 }).descriptor] });
    await writeLayout(folder, image, "v1");
    const [entry, ...others] = await readLayout(folder);
    assertEquals([entry?.tag, entry?.image.digest, others.length], ["v1", image.digest, 0]);
    assertEquals(entry?.image.children.map(({ digest }) => digest), [buildImage().digest]);
    const registry = createRegistry({ allowSparse: true });
    await pushLayout(folder, { fetch: registry.fetch, baseUrl: BASE, repository: "a/b" });
    assertEquals(registry.state.repository("a/b").findManifest("v1")?.digest, image.digest);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("pushLayout() pushes the real images beside this checkout", async () => {
  if (!isThere(TESTDATA)) return;
  const registry = createRegistry({ allowSparse: true });
  for (const name of ["busybox", "multi-platform", "shapes"]) {
    const directory = new URL(`${name}/`, TESTDATA);
    await pushLayout(directory, { fetch: registry.fetch, baseUrl: BASE, repository: name, tag: "none" });
  }
  const shapes = registry.state.repository("shapes");
  assertEquals(shapes.tags.size, 25);
  assert([...shapes.referrers.values()].some((referrers) => referrers.size > 0));
  assertEquals(registry.state.repository("multi-platform").manifests.size, 5);
  for (const [digest, content] of registry.blobs) {
    assertEquals(digestBytes(await readAll(content.stream())), digest);
  }
});

async function writeLayout(folder: string, image: Image, tag: string): Promise<void> {
  await Deno.mkdir(`${folder}/blobs/sha256`, { recursive: true });
  const write = (digest: string, bytes: Uint8Array) =>
    Deno.writeFile(`${folder}/blobs/${digest.replace(":", "/")}`, bytes);
  for (const blob of blobsOf(image).values()) await write(blob.digest, await readAll(blob.stream()));
  for (const node of walkImage(image)) await write(node.digest, node.bytes);
  const annotations = { "org.opencontainers.image.ref.name": tag };
  const index = { schemaVersion: 2, manifests: [{ ...image.descriptor, annotations }] };
  await Deno.writeTextFile(`${folder}/index.json`, JSON.stringify(index));
}
