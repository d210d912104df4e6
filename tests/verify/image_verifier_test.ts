/** Tests of the check of signatures: who is let in, and who is not, by key and by certified identity. */

import { Buffer } from "node:buffer";
import { generateKeyPairSync, sign } from "node:crypto";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { createImageVerifier } from "../../src/machine/verify/image_verifier.ts";
import { type SignaturePolicy, SignaturePolicyError } from "../../src/machine/verify/signature_policy.ts";
import type { Descriptor } from "../../src/oci/descriptor.ts";
import type { SignatureManifest } from "../../src/mirror/plan/verification.ts";
import {
  digestOf,
  ISSUER,
  makeAuthority,
  makeKeys,
  manifestOf,
  pemOf,
  signAsBundle,
  signUnderTag,
  simpleSigningOf,
  statementOf,
} from "./signing.ts";

const NO_LAYER: Descriptor = { mediaType: "", digest: digestOf(""), size: 0 };
const IMAGE = digestOf("an image");
const OTHER = digestOf("another image");
const KEYS = makeKeys();
const KEY_POLICY: SignaturePolicy = { key: pemOf(KEYS), transparencyLog: false };
const WORKFLOW = "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main";

async function verdictOf(policy: SignaturePolicy, signatures: SignatureManifest[], digest = IMAGE) {
  const verify = await createImageVerifier(policy);
  return await verify(digest, signatures);
}

async function reasonOf(policy: SignaturePolicy, signatures: SignatureManifest[]): Promise<string> {
  const verdict = await verdictOf(policy, signatures);
  return verdict.isTrusted ? "trusted" : verdict.reason;
}

async function withTrustRoot<Value>(
  text: string,
  work: (trustRoot: string) => Promise<Value>,
): Promise<Value> {
  const trustRoot = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(trustRoot, text);
    return await work(trustRoot);
  } finally {
    await Deno.remove(trustRoot);
  }
}

Deno.test("an image signed by the key passes, as bundle and under its tag", async () => {
  for (const signed of [signAsBundle(KEYS, statementOf(IMAGE)), signUnderTag(KEYS, IMAGE)]) {
    assertEquals(await verdictOf(KEY_POLICY, [signed]), { isTrusted: true, signer: "key" });
  }
});

Deno.test("one good signature among bad ones is enough", async () => {
  const bad = [manifestOf("text/plain", "x"), signUnderTag(makeKeys(), IMAGE)];
  assertEquals((await verdictOf(KEY_POLICY, [...bad, signUnderTag(KEYS, IMAGE)])).isTrusted, true);
});

Deno.test("an image without signatures is refused", async () => {
  assertEquals(await reasonOf(KEY_POLICY, []), "it is not signed");
  assertStringIncludes(
    await reasonOf(KEY_POLICY, [manifestOf("text/plain", "x")]),
    ": it holds no signature",
  );
});

Deno.test("a signature by another key is refused", async () => {
  const other = makeKeys();
  for (const signed of [signAsBundle(other, statementOf(IMAGE)), signUnderTag(other, IMAGE)]) {
    assertStringIncludes(await reasonOf(KEY_POLICY, [signed]), "signature verification failed");
  }
});

Deno.test("a signature of another image is refused, and says which", async () => {
  for (const signed of [signAsBundle(KEYS, statementOf(OTHER)), signUnderTag(KEYS, OTHER)]) {
    assertStringIncludes(await reasonOf(KEY_POLICY, [signed]), `it signs ${OTHER} instead`);
  }
});

Deno.test("a payload that was changed after it was signed is refused", async () => {
  const tagged = signUnderTag(KEYS, OTHER);
  const [layer = NO_LAYER] = tagged.manifest.layers;
  const text = new TextDecoder().decode(await tagged.readBlob(layer)).replace(OTHER, IMAGE);
  const forged = manifestOf(layer.mediaType, text, layer.annotations);
  assertStringIncludes(await reasonOf(KEY_POLICY, [forged]), "signature verification failed");
  const bundle = signAsBundle(KEYS, statementOf(OTHER));
  const [envelope = NO_LAYER] = bundle.manifest.layers;
  const json = JSON.parse(new TextDecoder().decode(await bundle.readBlob(envelope)));
  json.dsseEnvelope.payload = btoa(statementOf(IMAGE));
  const changed = manifestOf(envelope.mediaType, JSON.stringify(json));
  assertStringIncludes(await reasonOf(KEY_POLICY, [changed]), "signature verification failed");
});

Deno.test("an attestation is no signature, though the right key made it", async () => {
  const signed = signAsBundle(KEYS, statementOf(IMAGE, "https://slsa.dev/provenance/v1"));
  assertStringIncludes(
    await reasonOf(KEY_POLICY, [signed]),
    "it is an attestation (https://slsa.dev/provenance/v1)",
  );
});

Deno.test("what does not parse is refused in a sentence", async () => {
  const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
  const simple = "application/vnd.dev.cosign.simplesigning.v1+json";
  assertStringIncludes(await reasonOf(KEY_POLICY, [manifestOf(bundle, "<html>")]), "the bundle is no JSON");
  assertStringIncludes(await reasonOf(KEY_POLICY, [manifestOf(bundle, "{}")]), "invalid bundle");
  assertStringIncludes(
    await reasonOf(KEY_POLICY, [manifestOf(simple, "{}")]),
    "it has no signature among its annotations",
  );
  const noStatement = signAsBundle(KEYS, "nothing");
  assertStringIncludes(await reasonOf(KEY_POLICY, [noStatement]), "its statement is no JSON");
  const broken = manifestOf(simple, "{}", { "dev.cosignproject.cosign/signature": "AA==" });
  assert((await reasonOf(KEY_POLICY, [broken])).length > 80);
  const large = signUnderTag(KEYS, IMAGE);
  for (const layer of large.manifest.layers) layer.size = 1e9;
  assertStringIncludes(
    await reasonOf(KEY_POLICY, [large]),
    "its 1000000000 bytes are more than a signature has",
  );
});

Deno.test("a key demands an entry in a log unless the policy says that none is needed", async () => {
  const { trustRoot } = await makeAuthority();
  await withTrustRoot(trustRoot, async (path) => {
    const policy = { key: pemOf(KEYS), trustRoot: path };
    assertStringIncludes(await reasonOf(policy, [signUnderTag(KEYS, IMAGE)]), "expected 1 timestamps, got 0");
  });
});

Deno.test("a certified identity passes, exactly or by a pattern, as bundle and under its tag", async () => {
  const authority = await makeAuthority();
  await withTrustRoot(authority.trustRoot, async (trustRoot) => {
    const signatures = [
      await authority.signAsBundle(statementOf(IMAGE), WORKFLOW),
      await authority.signUnderTag(IMAGE, WORKFLOW),
    ];
    for (const signed of signatures) {
      for (const identity of [WORKFLOW, "/https://github\\.com/acme/.+/"]) {
        const verdict = await verdictOf({ issuer: ISSUER, identity, trustRoot }, [signed]);
        assertEquals(verdict, { isTrusted: true, signer: `${WORKFLOW} (${ISSUER})` });
      }
    }
  });
});

Deno.test("another identity, another issuer and another authority are refused", async () => {
  const authority = await makeAuthority();
  const evil = WORKFLOW.replace("acme/", "acme-evil/");
  await withTrustRoot(authority.trustRoot, async (trustRoot) => {
    const signed = await authority.signAsBundle(statementOf(IMAGE), evil);
    const wanted = { issuer: ISSUER, identity: "/https://github\\.com/acme/", trustRoot };
    assertStringIncludes(await reasonOf(wanted, [signed]), `its signer is "${evil}"`);
    const issuer = "https://token.actions.githubusercontent.com";
    assertStringIncludes(await reasonOf({ ...wanted, issuer }, [signed]), `its issuer is "${ISSUER}"`);
    const stranger = await (await makeAuthority()).signAsBundle(statementOf(IMAGE), WORKFLOW);
    const reason = await reasonOf({ ...wanted, identity: WORKFLOW }, [stranger]);
    assert(/certificate|log/.test(reason), reason);
    const mixed = { ...KEY_POLICY };
    assertStringIncludes(
      await reasonOf(mixed, [signed]),
      "it is signed by a certified identity, and a key is wanted",
    );
    const keyed = signUnderTag(KEYS, IMAGE);
    assert((await reasonOf(wanted, [keyed])).includes("expected 1 timestamps"));
  });
});

const MISTAKES: readonly (readonly [SignaturePolicy, string])[] = [
  [{}, 'it needs a "key", or an "issuer" and an "identity"'],
  [{ key: "k", issuer: "i" }, 'it excludes "issuer" and "identity"'],
  [{ issuer: "i" }, '"issuer" and "identity" go together'],
  [{ issuer: "i", identity: "a" }, "name the file of its trusted root"],
  [
    { issuer: "i", identity: "a", trustRoot: "t", transparencyLog: false },
    "only a log says when it was used",
  ],
  [{ key: "k" }, 'name a "trustRoot", or write "transparencyLog": false'],
  [
    { key: "/nowhere/cosign.pub", transparencyLog: false },
    '"/nowhere/cosign.pub" cannot be read: there is no such file',
  ],
  [
    { key: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", transparencyLog: false },
    "it is no public key in PEM",
  ],
  [{ key: "-----BEGIN PRIVATE KEY-----", transparencyLog: false }, "it holds a private key"],
  [{ issuer: "i", identity: "*", trustRoot: "t" }, 'a "*" means nothing here'],
  [{ issuer: "i", identity: "/.*/", trustRoot: "t" }, "it lets everybody in"],
  [{ issuer: "i", identity: "/^(.+)$/", trustRoot: "t" }, "it lets everybody in"],
  [{ issuer: "i", identity: "/(/", trustRoot: "t" }, "the regex does not compile"],
];

for (const [policy, message] of MISTAKES) {
  Deno.test(`createImageVerifier() refuses ${JSON.stringify(policy)}`, async () => {
    await assertRejects(() => createImageVerifier(policy), SignaturePolicyError, message);
  });
}

Deno.test("createImageVerifier() refuses a trust root that is none", async () => {
  for (
    const [text, message] of [["<html>", "holds no JSON"], [
      '{"tlogs": 3}',
      "it is no trusted root of Sigstore",
    ]] as const
  ) {
    await withTrustRoot(text, async (trustRoot) => {
      const policy = { issuer: "i", identity: "a", trustRoot };
      await assertRejects(() => createImageVerifier(policy), SignaturePolicyError, message);
    });
  }
});

const BELONGINGS = new URL("../../../shared/testdata/belongings/", import.meta.url);

Deno.test("images signed by the real cosign pass with its key, and no others", async () => {
  const exists = await Deno.stat(BELONGINGS).then(() => true, () => false);
  if (!exists) return;
  const verify = await createImageVerifier({
    key: new URL("cosign.pub", BELONGINGS).pathname,
    transparencyLog: false,
  });
  for (const layout of ["referrers-api", "fallback-tags"]) {
    const { signed, unsigned, wrong } = await readSignatures(new URL(`${layout}/`, BELONGINGS));
    assert(signed.length >= 5, `${signed.length}`);
    for (const { subject, manifest } of signed) {
      const verdict = await verify(subject, [manifest]);
      assert(verdict.isTrusted, `${manifest.digest}: ${JSON.stringify(verdict)}`);
      assertEquals((await verify(unsigned, [manifest])).isTrusted, false);
    }
    for (const { subject, manifest } of wrong) {
      assertEquals((await verify(subject, [manifest])).isTrusted, false);
    }
  }
});

/** The signatures in a layout, by bundle and `oci-1-1` referrer; `wrong` are those by the other key. */
async function readSignatures(layout: URL) {
  const blobs = new URL("blobs/sha256/", layout);
  const found = [];
  for await (const { name } of Deno.readDir(blobs)) {
    const text = await Deno.readTextFile(new URL(name, blobs));
    if (!text.startsWith("{") || !text.includes('"subject":{"mediaType"')) continue;
    const manifest = JSON.parse(text);
    const predicate = manifest.annotations?.["dev.sigstore.bundle.predicateType"];
    const isSignature = predicate === "https://sigstore.dev/cosign/sign/v1" ||
      /cosign\.artifact\.sig/.test(manifest.artifactType ?? "");
    if (!isSignature) continue;
    const readBlob = ({ digest }: { digest: string }) =>
      Deno.readFile(new URL(digest.replace("sha256:", ""), blobs));
    found.push({
      subject: manifest.subject.digest,
      manifest: { digest: digestOf(text), manifest, readBlob },
    });
  }
  const wrongRoot = "sha256:65905cd0c743acc2ea2ae91cfc243c5319538fb08e184e22df411097f7532563";
  return {
    signed: found.filter(({ subject }) => subject !== wrongRoot),
    wrong: found.filter(({ subject }) => subject === wrongRoot),
    unsigned: "sha256:b7da16d4d478eba453eeaa0d18555c902eb05993f4c0085e613a3425f6dad545" as const,
  };
}

Deno.test("an image signed with an Ed25519 key passes", async () => {
  const keys = generateKeyPairSync("ed25519");
  const policy = { key: pemOf(keys), transparencyLog: false };
  const text = simpleSigningOf(IMAGE);
  const signature = sign(null, Buffer.from(text), keys.privateKey).toString("base64");
  const annotations = { "dev.cosignproject.cosign/signature": signature };
  const signed = manifestOf("application/vnd.dev.cosign.simplesigning.v1+json", text, annotations);
  assertEquals(await verdictOf(policy, [signed]), { isTrusted: true, signer: "key" });
  assertEquals((await verdictOf(policy, [signed], OTHER)).isTrusted, false);
});
