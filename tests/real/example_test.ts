/** The example config of the documentation, as it is written there, with comments and trailing commas. */

import { assertEquals } from "@std/assert";
import { buildImage, buildMultiPlatform } from "../images.ts";
import { openWorkspace } from "../cli_process.ts";
import { realTest } from "./binaries.ts";
import { createCertificate } from "./certificate.ts";
import { pushAll } from "./images.ts";
import { startRegistry, USER } from "./registry_process.ts";
import { assertMirrored, type PlacedImage } from "./skopeo.ts";

const EXAMPLE = `{
  "auth": {                      // registries without an entry are used anonymously
    "quay.io": { "username": "xxx", "password": "xxxxxxxxx", "insecure": true },
    "registry.cn-beijing.aliyuncs.com": { "username": "xxx", "password": "xxxxxxxxx" },
  },
  "images": {
    "quay.io/coreos/kube-rbac-proxy": "quay.io/ruohe/kube-rbac-proxy",   // all tags
    "quay.io/ns/app:v1,v2,v3": "registry.cn-beijing.aliyuncs.com/ns/app",
    "quay.io/ns/app:v1": "registry.cn-beijing.aliyuncs.com/ns/renamed:stable",
    "quay.io/ns/tool:v1": "",                                             // default registry and namespace
    "quay.io/ns/multi": ["registry.cn-beijing.aliyuncs.com/ns/a", "quay.io/ns/b"],
  }
}
`;

function tagged(repository: string, tags: readonly string[], seed: number): PlacedImage[] {
  return tags.map((tag, index) => ({ repository, tag, image: buildImage({ seed: seed + index }) }));
}

realTest(
  "cli.ts runs the example config between a registry without TLS and one with it, both with a login",
  ["docker-registry", "skopeo", "openssl"],
  async () => {
    await using certificate = await createCertificate();
    await using quay = await startRegistry({ needsLogin: true });
    await using aliyun = await startRegistry({ needsLogin: true, certificate });
    await using workspace = await openWorkspace();
    const proxy = tagged("coreos/kube-rbac-proxy", ["v0.1", "v0.2", "latest"], 10);
    const app = tagged("ns/app", ["v1", "v2", "v3", "v4"], 20);
    const tool = tagged("ns/tool", ["v1", "v2"], 30);
    const multi = { repository: "ns/multi", tag: "v1", image: buildMultiPlatform(["amd64", "arm64"]) };
    await pushAll(quay, [...proxy, ...app, ...tool, multi]);
    const config = await workspace.writeConfig(
      EXAMPLE.replaceAll("quay.io", quay.host).replaceAll("registry.cn-beijing.aliyuncs.com", aliyun.host)
        .replaceAll('"xxx"', `"${USER.username}"`).replaceAll('"xxxxxxxxx"', `"${USER.password}"`),
    );

    const { code, lines, stdout, stderr } = await workspace.run(
      ["--config", config, "--registry", aliyun.host, "--namespace", "mirror"],
      {
        environment: {
          DENO_CERT: certificate.authorityFile,
          NODE_EXTRA_CA_CERTS: certificate.authorityFile,
        },
      },
    );
    assertEquals(code, 0, stdout + stderr);
    assertEquals(lines.at(-1), "Finished, 0 sync tasks failed, 0 tasks generate failed");
    const at = (repository: string) => (one: PlacedImage) => ({ ...one, repository });
    await assertMirrored(quay, [...proxy.map(at("ruohe/kube-rbac-proxy")), at("ns/b")(multi)]);
    await assertMirrored(aliyun, [
      ...app.slice(0, 3),
      ...app.slice(0, 1).map((one) => ({ ...one, repository: "ns/renamed", tag: "stable" })),
      ...tool.slice(0, 1).map(at("mirror/tool")),
      at("ns/a")(multi),
    ]);
    const tags = await aliyun.fetch(`${aliyun.url}/v2/ns/app/tags/list`).then((answer) => answer.json());
    assertEquals(tags.tags, ["v1", "v2", "v3"]);
  },
);
