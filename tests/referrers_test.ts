/** Tests of what belongs to an image: names of tags, descriptors, and lists under fallback tags. */

import { assert, assertEquals } from "@std/assert";
import { MEDIA_TYPE_OCI_INDEX, MEDIA_TYPE_OCI_MANIFEST } from "../src/oci/descriptor.ts";
import { type Content, parseContent } from "../src/oci/manifest.ts";
import {
  addReferrers,
  cosignTagsOf,
  describeReferrer,
  fallbackTagOf,
  isFallbackTag,
  readReferrers,
  subjectOf,
  subjectOfCosignTag,
} from "../src/oci/referrers.ts";

const HEX = "ab".repeat(32);
const DIGEST = `sha256:${HEX}`;
const CONFIG = { mediaType: "application/vnd.test.config", digest: `sha256:${"cd".repeat(32)}`, size: 2 };

function contentOf(value: object): Promise<Content> {
  return parseContent(new TextEncoder().encode(JSON.stringify(value)));
}

function artifact(fields: object = {}): Promise<Content> {
  return contentOf({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE_OCI_MANIFEST,
    config: CONFIG,
    layers: [],
    ...fields,
  });
}

Deno.test("fallbackTagOf() cuts and cleans as the specification says", () => {
  assertEquals(fallbackTagOf(DIGEST), `sha256-${HEX}`);
  assertEquals(fallbackTagOf(`sha512:${"ab".repeat(64)}`), `sha512-${HEX}`);
  assertEquals(
    fallbackTagOf(
      `test+algorithm+using+algorithm+separators+and+lots+of+characters+to+excercise+overall+truncation:${
        "x=".repeat(40)
      }`,
    ),
    `test-algorithm-using-algorithm-s-${"x-".repeat(32)}`,
  );
});

Deno.test("tags of belongings are known, and whose they are", () => {
  assertEquals(cosignTagsOf(DIGEST), [`sha256-${HEX}.sig`, `sha256-${HEX}.att`, `sha256-${HEX}.sbom`]);
  for (const tag of cosignTagsOf(DIGEST)) assertEquals(subjectOfCosignTag(tag), DIGEST);
  for (const tag of ["v1.sig", `sha256-${HEX}`, `sha256-${HEX}.txt`]) {
    assertEquals(subjectOfCosignTag(tag), undefined);
  }
  assert(isFallbackTag(`sha256-${HEX}`));
  for (const tag of ["v1", "sha256-ab", `sha256-${HEX}.sig`]) assertEquals(isFallbackTag(tag), false);
});

Deno.test("describeReferrer() takes the artifact type, else the config's, and the annotations", async () => {
  const typed = await artifact({
    artifactType: "application/vnd.test.sbom",
    annotations: { a: "b" },
    subject: { digest: DIGEST },
  });
  assertEquals(subjectOf(typed), DIGEST);
  const { mediaType, digest, size } = typed.descriptor;
  assertEquals(describeReferrer(typed), {
    mediaType,
    digest,
    size,
    artifactType: "application/vnd.test.sbom",
    annotations: { a: "b" },
  });
  const plain = await artifact();
  assertEquals([describeReferrer(plain).artifactType, subjectOf(plain)], [
    "application/vnd.test.config",
    undefined,
  ]);
  const index = await contentOf({ schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests: [] });
  assertEquals(describeReferrer(index), index.descriptor);
});

Deno.test("readReferrers() tells a list of referrers from somebody's image", async () => {
  const entry = describeReferrer(await artifact());
  const list = { schemaVersion: 2, mediaType: MEDIA_TYPE_OCI_INDEX, manifests: [entry, { odd: true }] };
  assertEquals(readReferrers(await contentOf(list)), [entry]);
  const platform = { os: "linux", architecture: "amd64" };
  const { artifactType: _, ...image } = entry;
  assertEquals(readReferrers(await contentOf({ ...list, manifests: [{ ...image, platform }] })), undefined);
  assertEquals(readReferrers(await artifact()), undefined);
  assertEquals(readReferrers(await contentOf({ ...list, manifests: [] })), []);
});

Deno.test("addReferrers() adds what is missing, and keeps what is there as it is", async () => {
  const [first, second] = [
    await artifact({ annotations: { n: "1" } }),
    await artifact({ annotations: { n: "2" } }),
  ].map(describeReferrer);
  assert(first !== undefined && second !== undefined);
  const created = await addReferrers({ content: undefined, referrers: [] }, [first]);
  assert(created !== undefined);
  assertEquals(created.descriptor.mediaType, MEDIA_TYPE_OCI_INDEX);
  assertEquals(readReferrers(created), [first]);
  const odd = await contentOf({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE_OCI_INDEX,
    manifests: [{ ...first, odd: 1 }],
    annotations: { kept: "yes" },
  });
  const added = await addReferrers({ content: odd, referrers: [first] }, [first, second]);
  assert(added !== undefined);
  const fields = JSON.parse(new TextDecoder().decode(added.bytes));
  assertEquals(fields.manifests, [{ ...first, odd: 1 }, second]);
  assertEquals(fields.annotations, { kept: "yes" });
  assertEquals(await addReferrers({ content: added, referrers: [first, second] }, [second]), undefined);
});
