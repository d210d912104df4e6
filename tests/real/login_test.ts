/** Logging in to a real registry with TLS and Basic authentication, with the right password and with a wrong one. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { buildImage } from "../images.ts";
import { openWorkspace, type Workspace } from "../cli_process.ts";
import { realTest } from "./binaries.ts";
import { type Certificate, createCertificate } from "./certificate.ts";
import { pushAll } from "./images.ts";
import { type RegistryProcess, startRegistry, USER } from "./registry_process.ts";
import { assertMirrored } from "./skopeo.ts";

const WRONG = "wrong-password-2718";

interface Copy {
  workspace: Workspace;
  source: RegistryProcess;
  destination: RegistryProcess;
  certificate: Certificate;
}

/** Copies one image with a password, all outputs of the command on. */
async function copyWith(password: string, { workspace, source, destination, certificate }: Copy) {
  const config = await workspace.writeConfig({
    auth: {
      [source.host]: { insecure: true },
      [destination.host]: { username: USER.username, password },
    },
    images: { [`${source.host}/ns/app:v1`]: `${destination.host}/ns/app` },
  });
  const outputs = ["--log", workspace.path("log"), "--report", workspace.path("report.json")];
  return await workspace.run(["--config", config, ...outputs], {
    environment: {
      DENO_CERT: certificate.authorityFile,
      NODE_EXTRA_CA_CERTS: certificate.authorityFile,
    },
  });
}

realTest(
  "cli.ts tells a wrong password for a real registry in one sentence, without the password, and takes the right one",
  ["docker-registry", "skopeo", "openssl"],
  async () => {
    await using certificate = await createCertificate();
    await using source = await startRegistry();
    await using destination = await startRegistry({ needsLogin: true, certificate });
    await using workspace = await openWorkspace();
    const copy = { workspace, source, destination, certificate };
    const images = [{ repository: "ns/app", tag: "v1", image: buildImage({ layerSize: 300_000 }) }];
    await pushAll(source, images);

    const refused = await copyWith(WRONG, copy);
    assertEquals(refused.code, 1, refused.stdout + refused.stderr);
    assertEquals(refused.lines.at(-1), "Finished, 1 sync tasks failed, 0 tasks generate failed");
    const sentences = refused.lines.filter((line) => line.includes("Cannot"));
    assertEquals(sentences.length, 1, refused.stdout);
    assertMatch(sentences[0] ?? "", new RegExp(`${destination.host}.*401 .*user "robot" from config`));
    const said = [refused.stdout, refused.stderr, await workspace.readAll()].join("\n");
    for (const secret of [WRONG, btoa(`${USER.username}:${WRONG}`)]) assert(!said.includes(secret), said);

    const done = await copyWith(USER.password, copy);
    assertEquals(done.code, 0, done.stdout + done.stderr);
    await assertMirrored(destination, images);
  },
);

realTest(
  "cli.ts refuses a certificate that nobody vouches for, and says what to do",
  ["docker-registry", "openssl"],
  async () => {
    await using certificate = await createCertificate();
    await using registry = await startRegistry({ certificate });
    await using workspace = await openWorkspace();
    const config = await workspace.writeConfig({
      images: { [`${registry.host}/ns/app:v1`]: `${registry.host}/ns/copy` },
    });
    const { code, stdout } = await workspace.run(["--config", config]);
    assertEquals(code, 1, stdout);
    assertMatch(
      stdout,
      /the certificate of 127\.0\.0\.1:\d+ is not trusted \(unknown issuer\).*"insecure": true/,
    );
  },
);
