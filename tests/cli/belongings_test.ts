/** The command line and what belongs to images: what is let in, what is left out, and what it says of it. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { SignatureManifest } from "../../src/mirror/plan/verification.ts";
import { openWorkspace, type Workspace } from "../cli_process.ts";
import { buildArtifact, buildImage, type Image, pushImage } from "../images.ts";
import { bytesContent, createRegistry, serve, type TestRegistry } from "../registry.ts";
import { ISSUER, makeAuthority, makeKeys, pemOf, signUnderTag, simpleSigningOf } from "../verify/signing.ts";

interface Scene {
  workspace: Workspace;
  source: TestRegistry;
  destination: TestRegistry;
  from: string;
  to: string;
  auth: Record<string, unknown>;
}

async function withScene(run: (scene: Scene) => Promise<void>): Promise<void> {
  const [source, destination] = [createRegistry(), createRegistry()];
  await using sourceServer = serve(source);
  await using destinationServer = serve(destination);
  await using workspace = await openWorkspace();
  const auth = { [sourceServer.host]: { insecure: true }, [destinationServer.host]: { insecure: true } };
  const [from, to] = [`${sourceServer.host}/app`, `${destinationServer.host}/app`];
  await run({ workspace, source, destination, from, to, auth });
}

/** Puts a signature under cosign's tag of an image. */
async function pushSignature(registry: TestRegistry, image: Image, signed: SignatureManifest): Promise<void> {
  const [layer] = signed.manifest.layers ?? [];
  assert(layer !== undefined);
  const content = bytesContent(await signed.readBlob(layer));
  pushImage(
    registry,
    "app",
    `${image.digest.replace(":", "-")}.sig`,
    buildImage({ layers: [{ ...layer, content }] }),
  );
}

/** Four images: one that is signed, and three that are not as they should be. */
async function pushFour(
  registry: TestRegistry,
  sign: (digest: string, text?: string) => Promise<SignatureManifest> | SignatureManifest,
): Promise<void> {
  const images = [1, 2, 3, 4].map((seed) => buildImage({ seed: 10 * seed }));
  const [good, unsigned, wrong, tampered] = images;
  assert(good && unsigned && wrong && tampered);
  for (const [tag, image] of Object.entries({ good, unsigned, wrong, tampered })) {
    pushImage(registry, "app", tag, image);
  }
  await pushSignature(registry, good, await sign(good.digest));
  await pushSignature(registry, wrong, signUnderTag(makeKeys(), wrong.digest));
  await pushSignature(registry, tampered, await sign(good.digest));
}

async function assertGate({ workspace, destination, from, to, auth }: Scene, verify: object): Promise<void> {
  const config = await workspace.writeConfig({ auth, images: { [from]: { to, verify } } });
  const { code, stdout, stderr } = await workspace.run(["--config", config]);
  assertEquals(code, 1, stdout + stderr);
  const tags = [...destination.state.repository("app").tags.keys()];
  assertEquals(tags.filter((tag) => !tag.startsWith("sha256-")), ["good"]);
  for (const tag of ["unsigned", "wrong", "tampered"]) {
    assertStringIncludes(stdout, `Cannot let in "${from}:${tag}": `);
  }
  assertStringIncludes(stdout, `Cannot let in "${from}:unsigned": it is not signed`);
  assertStringIncludes(stdout, "Images: 1 copied, 0 unchanged, 3 failed");
}

Deno.test("cli.ts lets in what a key has signed, and names what it refuses", () =>
  withScene(async (scene) => {
    const keys = makeKeys();
    await pushFour(scene.source, (digest) => signUnderTag(keys, digest, simpleSigningOf(digest)));
    await Deno.writeTextFile(scene.workspace.path("cosign.pub"), pemOf(keys));
    await assertGate(scene, { key: "cosign.pub", transparencyLog: false });
  }));

Deno.test("cli.ts lets in what a certified identity has signed, and names what it refuses", () =>
  withScene(async (scene) => {
    const authority = await makeAuthority();
    const identity = "https://ci.test/acme/app";
    await pushFour(scene.source, (digest) => authority.signUnderTag(digest, identity));
    await Deno.writeTextFile(scene.workspace.path("root.json"), authority.trustRoot);
    await assertGate(scene, { issuer: ISSUER, identity, trustRoot: "root.json" });
  }));

Deno.test("cli.ts ends with 2 before anything moves where a key is none", () =>
  withScene(async ({ workspace, source, from, to, auth }) => {
    await Deno.writeTextFile(workspace.path("cosign.pub"), "no key");
    const verify = { key: "cosign.pub", transparencyLog: false };
    const config = await workspace.writeConfig({ auth, images: { [from]: { to, verify } } });
    const { code, stderr } = await workspace.run(["--config", config]);
    assertEquals(code, 2, stderr);
    assertMatch(
      stderr,
      /^Cannot use the rule ".*" \(line \d+\): Cannot check signatures by "key": it is no public key in PEM/,
    );
    assertEquals(source.requests.length, 0);
  }));

Deno.test("cli.ts brings what belongs to images, sums up what is left out, and shows the tree", () =>
  withScene(async ({ workspace, source, destination, from, to, auth }) => {
    const image = buildImage();
    const sbom = buildArtifact({ seed: 2, artifactType: "application/vnd.test.sbom", subject: image });
    pushImage(source, "app", "v1", image);
    pushImage(source, "app", undefined, sbom);
    const has = () => destination.state.repository("app").manifests.has(sbom.digest);
    for (
      const [args, referrers, isThere] of [
        [["--no-referrers"], undefined, false],
        [[], { exclude: "**/*sbom*" }, false],
        [["--referrers-every", "1h"], undefined, true],
      ] as const
    ) {
      destination.repositories.clear();
      const rule = referrers === undefined ? to : { to, referrers };
      const config = await workspace.writeConfig({ auth, images: { [from]: rule } });
      const { code, stdout, stderr } = await workspace.run(["--config", config, ...args]);
      assertEquals(code, 0, stdout + stderr);
      assertEquals(has(), isThere);
      const summary = "application/vnd.test.sbom: 1 of 1 left out";
      assertEquals(stdout.includes(summary), referrers !== undefined, stdout);
    }
    const credentials = await workspace.writeConfig(auth, "auth.json");
    const { code, lines, stderr } = await workspace.run(["tree", `${to}:v1`, "--auth", credentials]);
    assertEquals(code, 0, stderr);
    assertEquals(lines, [
      `${to}:v1`,
      `└── application/vnd.oci.image.manifest.v1+json  ${image.digest}`,
      `    └── application/vnd.test.sbom  ${sbom.digest}`,
    ]);
  }));

Deno.test("cli.ts names what is wrong with --referrers-every", () =>
  withScene(async ({ workspace }) => {
    const { code, stderr } = await workspace.run(["a.test/b", "c.test/d", "--referrers-every", "often"]);
    assertEquals(code, 2);
    assertStringIncludes(
      stderr,
      `The flag "--referrers-every" needs a number of minutes, hours, days or weeks`,
    );
  }));
