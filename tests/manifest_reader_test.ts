/** Tests of manifests that are read once for all who want them, and kept only so far. */

import { assertEquals, assertRejects } from "@std/assert";
import { ManifestReader } from "../src/mirror/copy/manifest_reader.ts";
import { RegistryError } from "../src/registry/registry_error.ts";
import { DEFAULT_LIMITS } from "../src/registry/request.ts";
import { readBytes } from "../src/registry/stream/read_body.ts";
import { buildImage, type Image, pushImage } from "./images.ts";
import { type MirrorSetup, setUpMirror, SOURCE } from "./mirror_setup.ts";

const MIB = 1024 * 1024;

function setUp(images: readonly Image[]): { setup: MirrorSetup; read: (image: Image) => Promise<number> } {
  const setup = setUpMirror();
  for (const [index, image] of images.entries()) pushImage(setup.source, "from/image", `v${index}`, image);
  const context = setup.context();
  const reader = new ManifestReader(context);
  const source = context.registries.open({ registry: SOURCE, repository: "from/image" }, "pull");
  const read = async ({ descriptor }: Image) => (await reader.child(source, descriptor))?.bytes.length ?? 0;
  return { setup, read };
}

function gets({ source }: MirrorSetup): number {
  return source.count({ method: "GET", kind: "manifest" });
}

Deno.test("ManifestReader.child() reads a manifest once for all who ask at once or later", async () => {
  const image = buildImage();
  const { setup, read } = setUp([image]);
  const sizes = await Promise.all([read(image), read(image), read(image)]);
  assertEquals([...sizes, await read(image)], Array(4).fill(image.bytes.length));
  assertEquals(gets(setup), 1);
});

Deno.test("fault 45: ManifestReader.child() keeps no more than 8 MiB, those that were wanted last", async () => {
  const images = [1, 2, 3, 4].map((seed) =>
    buildImage({ seed, annotations: { padding: "x".repeat(5 * MIB / 2) } })
  );
  const [first, second, ...others] = images;
  const { setup, read } = setUp(images);
  if (first === undefined || second === undefined) throw new TypeError("no images");
  await read(first);
  await read(second);
  await read(first);
  for (const image of others) await read(image);
  assertEquals(gets(setup), 4);
  await read(first);
  assertEquals(gets(setup), 4);
  await read(second);
  assertEquals(gets(setup), 5);
});

Deno.test("ManifestReader.child() asks once in a pass for what is missing", async () => {
  const image = buildImage();
  const { setup, read } = setUp([]);
  for (let time = 0; time < 3; time++) await assertRejects(() => read(image), RegistryError, "404");
  assertEquals(gets(setup), 1);
});

Deno.test("fault 45: readBytes() keeps no more memory than the answer has bytes", async () => {
  // As Deno's fetch gives them: a few bytes at the start of 64 KiB.
  const piece = new Uint8Array(64 * 1024).fill(7).subarray(0, 500);
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start: (controller) => {
      controller.enqueue(piece);
      controller.close();
    },
  });
  const bytes = await readBytes(new Response(body), MIB, DEFAULT_LIMITS);
  assertEquals([bytes, bytes.buffer.byteLength], [piece.slice(), 500]);
});
