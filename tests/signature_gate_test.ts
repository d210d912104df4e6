/** Tests of the gate: an image comes in only where its signatures are what its rule demands. */

import { assert, assertEquals } from "@std/assert";
import { createVerifiers, prepareVerifiers } from "../src/machine/verify/verifiers.ts";
import type { Rule } from "../src/mirror/config/config.ts";
import { SetupError } from "../src/mirror/config/config.ts";
import type { VerifyImage } from "../src/mirror/plan/verification.ts";
import { buildArtifact, buildImage, pushImage } from "./images.ts";
import { DESTINATION, setUpMirror, SOURCE } from "./mirror_setup.ts";
import { pushLayout } from "./oci_layout.ts";

const BELONGINGS = new URL("../../shared/testdata/belongings/", import.meta.url);
const TO = `${DESTINATION}/to/app`;

function isThere(): boolean {
  try {
    return Deno.statSync(BELONGINGS).isDirectory;
  } catch {
    console.warn(`not tested: there is no "shared/testdata/belongings" beside this checkout`);
    return false;
  }
}

for (const layout of ["referrers-api", "fallback-tags"]) {
  for (const [key, passing] of [["cosign", ["v1", "v2"]], ["other", ["wrong"]]] as const) {
    Deno.test(`mirror() lets in what the key ${key}.pub has signed, and nothing else (${layout})`, async () => {
      if (!isThere()) return;
      const noReferrers = layout === "fallback-tags";
      const setup = setUpMirror({
        source: { quirks: { noReferrers } },
        destination: { quirks: { noReferrers } },
      });
      const options = { fetch: setup.source.fetch, baseUrl: `https://${SOURCE}`, repository: "app" };
      await pushLayout(new URL(`${layout}/`, BELONGINGS), options);
      const verify = { key: new URL(`${key}.pub`, BELONGINGS).pathname, transparencyLog: false };
      const rule = {
        source: `${SOURCE}/app:v1,v2,unsigned,wrong`,
        destinations: [TO],
        referrers: { verify },
      };
      const report = await setup.run([rule], { createVerifier: createVerifiers() });
      const there = [...setup.destination.state.repository("to/app").tags.keys()];
      assertEquals(there.filter((tag) => !tag.startsWith("sha256-")).sort(), [...passing]);
      assertEquals(report.totals.failed, 4 - passing.length);
      for (const { status, error = "", source } of report.tasks) {
        assert(status === "copied" || error.startsWith(`Cannot let in "${source}": `), error);
      }
      const unsigned = report.tasks.find(({ source }) => source.endsWith(":unsigned"));
      assertEquals(unsigned?.error, `Cannot let in "${SOURCE}/app:unsigned": it is not signed`);
      // What has passed is not asked about again.
      setup.source.resetLog();
      await setup.run([{ ...rule, source: `${SOURCE}/app:${passing.join(",")}` }]);
      assertEquals(setup.source.count({ kind: "blob" }), 0);
    });
  }
}

const BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json";

Deno.test("mirror() gives a check that is passed in the image's own signatures, with their blobs", async () => {
  const setup = setUpMirror();
  const image = buildImage();
  pushImage(setup.source, "app", "v1", image);
  const signature = buildArtifact({ seed: 2, artifactType: BUNDLE, subject: image });
  for (
    const one of [
      signature,
      buildArtifact({ seed: 3, artifactType: "application/spdx+json", subject: image }),
    ]
  ) {
    pushImage(setup.source, "app", undefined, one);
  }
  const seen: unknown[] = [];
  const check: VerifyImage = async (digest, signatures) => {
    for await (const { digest: name, manifest, readBlob } of signatures) {
      const [layer] = manifest.layers ?? [];
      assert(layer !== undefined);
      seen.push([digest, name, (await readBlob(layer)).length]);
    }
    return { isTrusted: true, signer: "somebody" };
  };
  const rule = { source: `${SOURCE}/app`, destinations: [TO], referrers: { verify: { key: "any" } } };
  const createVerifier = () => Promise.resolve(check);
  assertEquals((await setup.run([rule], { createVerifier })).totals.copied, 1);
  assertEquals(seen, [[image.digest, signature.digest, 64]]);
});

Deno.test("mirror() lets nothing in where a check is asked for and none is given, nor with --no-referrers", async () => {
  const setup = setUpMirror();
  pushImage(setup.source, "app", "v1", buildImage());
  const rule = { source: `${SOURCE}/app`, destinations: [TO], referrers: { verify: { key: "any" } } };
  for (const referrers of [true, false]) {
    const report = await setup.run([rule], { referrers });
    assertEquals(report.totals.failed, 1);
    assert(report.tasks[0]?.error?.endsWith("its signatures cannot be checked here: no check was given"));
    assertEquals(setup.destination.repositories.size, 0);
  }
});

Deno.test("prepareVerifiers() names the rule whose key is none", async () => {
  const referrers = { verify: { key: "/nowhere/cosign.pub", transparencyLog: false } };
  const rules: Rule[] = [{ source: "a.test/b", destinations: ["c.test/d"], referrers, line: 3 }];
  try {
    await prepareVerifiers(rules, createVerifiers());
    assert(false, "it was taken");
  } catch (error) {
    assert(error instanceof SetupError);
    const start = 'Cannot use the rule "a.test/b" (line 3): Cannot check signatures by "key": ';
    assert(error.message.startsWith(start), error.message);
  }
});
