/** The main job against real registries: everything arrives digest for digest, and the second run moves nothing. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { openWorkspace } from "../cli_process.ts";
import { realTest } from "./binaries.ts";
import { builtImages, pushAll, realImages } from "./images.ts";
import { startRecordingProxy } from "./recording_proxy.ts";
import { startRegistry } from "./registry_process.ts";
import { assertMirrored } from "./skopeo.ts";

realTest(
  "cli.ts mirrors all images between two docker-registries, and the second run sends HEADs alone",
  ["docker-registry", "skopeo"],
  async () => {
    await using source = await startRegistry();
    await using destination = await startRegistry();
    await using sourceProxy = startRecordingProxy(source);
    await using destinationProxy = startRecordingProxy(destination);
    await using workspace = await openWorkspace();
    const images = [...builtImages(), ...await realImages()];
    await pushAll(source, images);
    const repositories = [...new Set(images.map(({ repository }) => repository))];
    const config = await workspace.writeConfig({
      auth: { [sourceProxy.host]: { insecure: true }, [destinationProxy.host]: { insecure: true } },
      images: Object.fromEntries(
        repositories.map((name) => [`${sourceProxy.host}/${name}`, `${destinationProxy.host}/copy/${name}`]),
      ),
    });

    const first = await workspace.run(["--config", config]);
    assertEquals(first.code, 0, first.stdout + first.stderr);
    assertEquals(first.lines.at(-1), "Finished, 0 sync tasks failed, 0 tasks generate failed");
    assertStringIncludes(first.stdout, `${images.length} images to copy, 0 unchanged`);
    await assertMirrored(
      destination,
      images.map((one) => ({ ...one, repository: `copy/${one.repository}` })),
    );

    const proxies = [sourceProxy, destinationProxy];
    for (const { requests } of proxies) requests.length = 0;
    const second = await workspace.run(["--config", config]);
    assertEquals(second.code, 0, second.stdout + second.stderr);
    assertStringIncludes(second.stdout, `0 images to copy, ${images.length} unchanged`);
    const kinds = proxies.flatMap(({ requests }) => requests.map(({ method, kind }) => `${method} ${kind}`));
    assertEquals([...new Set(kinds)].sort(), ["GET ping", "GET tags", "HEAD manifest"]);
  },
);
