/** Tests of looking at what a source stands for and what a destination has. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  rememberedDigest,
  type ResolveContext,
  resolveDestination,
  resolveRoot,
  type Root,
} from "../src/mirror/plan/resolve.ts";
import { filteredKey, tagKey } from "../src/mirror/store/store.ts";
import type { Reference } from "../src/oci/reference.ts";
import { RegistryError } from "../src/registry/registry_error.ts";
import { buildImage, buildIndex, buildMultiPlatform, type Image, pushImage } from "./images.ts";
import { DESTINATION, type MirrorSetup, setUpMirror, SOURCE } from "./mirror_setup.ts";
import type { RegistryOptions } from "./registry.ts";

const FROM: Reference = { registry: SOURCE, repository: "from/image", tag: "v1" };
const TO: Reference = { registry: DESTINATION, repository: "to/image", tag: "v1" };
const INDEX = buildMultiPlatform(["amd64", "arm64"]);

function withImage(source: RegistryOptions = {}, image: Image = INDEX): MirrorSetup {
  const setup = setUpMirror({ source });
  pushImage(setup.source, "from/image", "v1", image);
  return setup;
}

/** Answers HEAD with a status. */
function refusingHead(status: number): RegistryOptions {
  return {
    intercept: (request, { kind }) =>
      request.method === "HEAD" && kind === "manifest" ? new Response(null, { status }) : undefined,
  };
}

/** What is left of an image, of which something is. */
async function rootOf(
  from: Reference,
  platforms: readonly string[] | undefined,
  context: ResolveContext,
): Promise<Root> {
  const root = await resolveRoot(from, { platforms }, context);
  assert("descriptor" in root, "nothing is left");
  return root;
}

Deno.test("resolveRoot() asks with one HEAD", async () => {
  const setup = withImage();
  const root = await rootOf(FROM, undefined, setup.context());
  const { mediaType, digest, bytes } = INDEX;
  assertEquals(root, { descriptor: { mediaType, digest, size: bytes.length } });
  assertEquals(setup.source.count({ kind: "manifest" }), 1);
  assertEquals(setup.source.count({ method: "HEAD" }), 1);
});

Deno.test("resolveRoot() resolves a digest", async () => {
  const root = await rootOf({ ...FROM, digest: INDEX.digest }, undefined, withImage().context());
  assertEquals(root.descriptor.digest, INDEX.digest);
});

for (const status of [400, 401, 403]) {
  Deno.test(`resolveRoot() asks with GET where HEAD is answered with ${status}`, async () => {
    const root = await rootOf(FROM, undefined, withImage(refusingHead(status)).context());
    assertEquals(root.descriptor.digest, INDEX.digest);
  });
}

Deno.test("resolveRoot() fails in the registry's own words where there is no such tag", async () => {
  const reference = { ...FROM, tag: "v2" };
  const error = await assertRejects(
    () => resolveRoot(reference, { platforms: undefined }, withImage().context()),
    RegistryError,
    `Cannot read manifest of "${SOURCE}/from/image:v2": 404 MANIFEST_UNKNOWN`,
  );
  assertEquals(error.isPermanent, true);
});

Deno.test("resolveRoot() names the original where platforms leave less than all", async () => {
  const setup = withImage();
  const root = await rootOf(FROM, ["linux/amd64"], setup.context());
  assertEquals(root.original, INDEX.digest);
  assertEquals(root.descriptor.digest === INDEX.digest, false);
});

Deno.test("resolveRoot() names no original where platforms leave all", async () => {
  const root = await rootOf(FROM, ["linux/amd64", "linux/arm64"], withImage().context());
  assertEquals(root.original, undefined);
  assertEquals(root.descriptor.digest, INDEX.digest);
});

Deno.test("resolveRoot() finds out once what platforms leave, also that they leave nothing", async () => {
  for (const platforms of [["linux/amd64"], ["linux/s390x"]]) {
    const setup = withImage();
    const first = await resolveRoot(FROM, { platforms }, setup.context());
    const gets = setup.source.count({ method: "GET", kind: "manifest" });
    assertEquals(await resolveRoot(FROM, { platforms }, setup.context()), first);
    assertEquals([gets, setup.source.count({ method: "GET", kind: "manifest" })], [1, 1]);
  }
});

Deno.test("resolveRoot() looks again where the store says nonsense", async () => {
  const setup = withImage();
  for (const value of [1, "x", [], { digest: 1 }, { mediaType: "a", digest: "b", size: "c" }]) {
    await setup.store.set(filteredKey(INDEX.digest, ["linux/amd64"]), value);
    const root = await rootOf(FROM, ["linux/amd64"], setup.context());
    assertEquals(root.original, INDEX.digest);
  }
});

Deno.test("resolveRoot() tells the same platforms apart in no order", async () => {
  const setup = withImage(
    {},
    buildIndex([...INDEX.children, buildImage({ platform: { os: "w", architecture: "x" } })]),
  );
  const one = await resolveRoot(FROM, { platforms: ["linux/amd64", "linux/arm64"] }, setup.context());
  assertEquals(await resolveRoot(FROM, { platforms: ["linux/arm64", "linux/amd64"] }, setup.context()), one);
  assertEquals(setup.source.count({ method: "GET", kind: "manifest" }), 1);
});

Deno.test("resolveDestination() has nothing where there is nothing, or where looking is forbidden", async () => {
  assertEquals(await resolveDestination(TO, setUpMirror().context()), undefined);
  for (const status of [401, 403]) {
    const setup = setUpMirror({ destination: refusingHead(status) });
    assertEquals(await resolveDestination(TO, setup.context()), undefined);
  }
});

Deno.test("resolveDestination() fails where the registry does", async () => {
  const setup = setUpMirror({ destination: refusingHead(502) });
  const error = await assertRejects(() => resolveDestination(TO, setup.context()), RegistryError);
  assertEquals([error.status, error.retry], [502, "later"]);
});

Deno.test("resolveDestination() asks for the digest where it is the name", async () => {
  const setup = setUpMirror();
  pushImage(setup.destination, "to/image", undefined, INDEX);
  const { registry, repository } = TO;
  const found = await resolveDestination({ registry, repository, digest: INDEX.digest }, setup.context());
  assertEquals(found?.digest, INDEX.digest);
});

Deno.test("rememberedDigest() is what the store says of a tag, if that is a digest", async () => {
  const { store } = setUpMirror();
  assertEquals(await rememberedDigest(TO, { store }), undefined);
  for (const value of [null, 1, [], {}, { digest: 1 }]) {
    await store.set(tagKey(DESTINATION, "to/image", "v1"), value);
    assertEquals(await rememberedDigest(TO, { store }), undefined);
  }
  await store.set(tagKey(DESTINATION, "to/image", "v1"), { digest: INDEX.digest });
  assertEquals(await rememberedDigest(TO, { store }), INDEX.digest);
  assertEquals(await rememberedDigest({ ...TO, tag: "v2" }, { store }), undefined);
});
