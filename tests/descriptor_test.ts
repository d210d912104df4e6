/** Tests of digests and media types. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  algorithmOf,
  DigestError,
  digestOf,
  embeddedContent,
  isDigest,
  isIndexType,
  isManifestType,
  isSchema1Type,
  MANIFEST_MEDIA_TYPES,
} from "../src/oci/descriptor.ts";

const EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

Deno.test("isDigest() takes registered algorithms at their exact length in lower-case hex", () => {
  assert(isDigest(EMPTY));
  assert(isDigest(`sha384:${"0".repeat(96)}`));
  assert(isDigest(`sha512:${"a".repeat(128)}`));
  for (
    const text of [
      "",
      "sha256:",
      EMPTY.slice(0, -1),
      `${EMPTY}0`,
      EMPTY.replace("e3", "E3"),
      EMPTY.replace("e3", "g3"),
      `SHA256:${"0".repeat(64)}`,
      `sha512:${"0".repeat(64)}`,
      "0".repeat(64),
      `${EMPTY}\n`,
      ` ${EMPTY}`,
      `sha256:../${"0".repeat(61)}`,
    ]
  ) assert(!isDigest(text), JSON.stringify(text));
});

Deno.test("isDigest() takes unknown algorithms by the grammar of the image-spec", () => {
  assert(isDigest(`blake3:${"Ab_-=".repeat(8)}`));
  assert(isDigest(`multihash+base58:${"Q".repeat(46)}`));
  assert(!isDigest("blake3:short"));
  assert(!isDigest(`+blake3:${"a".repeat(40)}`));
  assert(!isDigest(`blake3:${"a".repeat(257)}`));
});

Deno.test("digestOf() hashes with the algorithm asked for", async () => {
  const bytes = new TextEncoder().encode("abc");
  assertEquals(await digestOf(new Uint8Array()), EMPTY);
  assertEquals(
    await digestOf(bytes),
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
  assert((await digestOf(bytes, "sha512")).startsWith("sha512:ddaf35a193617abacc417349ae20413112e6fa4e"));
  assert((await digestOf(bytes, "sha384")).startsWith("sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab"));
});

Deno.test("digestOf() refuses an algorithm it does not know", async () => {
  await assertRejects(() => digestOf(new Uint8Array(), "md5"), TypeError, `Cannot hash with "md5"`);
});

Deno.test("algorithmOf() gives what stands before the colon", () => {
  assertEquals(algorithmOf(EMPTY), "sha256");
  assertEquals(algorithmOf(`multihash+base58:${"Q".repeat(46)}`), "multihash+base58");
});

Deno.test("each manifest media type is of exactly one kind", () => {
  for (const type of MANIFEST_MEDIA_TYPES) {
    const kinds = [isIndexType, isManifestType, isSchema1Type].filter((matches) => matches(type));
    assertEquals(kinds.length, 1, type);
  }
  assertEquals(new Set(MANIFEST_MEDIA_TYPES).size, 6);
  assert(!isManifestType("application/json"));
});

Deno.test("DigestError says what was expected and what came", () => {
  const error = new DigestError("blob", EMPTY, "sha256:other");
  assertEquals(error.message, `Cannot trust blob: expected digest "${EMPTY}", got "sha256:other"`);
  assertEquals([error.name, error.expected, error.actual], ["DigestError", EMPTY, "sha256:other"]);
});

Deno.test("fault 59: embeddedContent() gives what a descriptor carries where it is what it says", async () => {
  const bytes = new TextEncoder().encode("{}");
  for (const algorithm of ["sha256", "sha512"]) {
    const entry = { mediaType: "x", digest: await digestOf(bytes, algorithm), size: 2, data: btoa("{}") };
    assertEquals(await embeddedContent(entry), bytes);
    assertEquals(await embeddedContent({ ...entry, size: 3 }), undefined);
    assertEquals(await embeddedContent({ ...entry, data: btoa("[]") }), undefined);
    assertEquals(await embeddedContent({ ...entry, data: "{}" }), undefined);
    const { data: _, ...without } = entry;
    assertEquals(await embeddedContent(without), undefined);
  }
  const unknown = { mediaType: "x", digest: `blake9:${"1".repeat(64)}`, size: 2, data: btoa("{}") };
  assertEquals(await embeddedContent(unknown), undefined);
});
