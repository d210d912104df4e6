/** The main job against real registries: everything arrives digest for digest, and the second run moves nothing. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { isFallbackTag, readReferrers, subjectOfCosignTag } from "../../src/oci/referrers.ts";
import { openWorkspace } from "../cli_process.ts";
import { realTest } from "./binaries.ts";
import { builtImages, pushAll, realImages } from "./images.ts";
import { startRecordingProxy } from "./recording_proxy.ts";
import { startRegistry } from "./registry_process.ts";
import { assertMirrored, type PlacedImage } from "./skopeo.ts";

/** Whether an image is a list of referrers, which a destination has in its own words. */
function isList({ tag, image: { bytes, mediaType, digest } }: PlacedImage): boolean {
  const descriptor = { mediaType, digest, size: bytes.length };
  return isFallbackTag(tag ?? "") && readReferrers({ bytes, descriptor }) !== undefined;
}

realTest(
  "cli.ts mirrors all images between two docker-registries, and the next runs put nothing",
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
    // What belongs to images comes with them.
    const own = images.filter((one) => !isList(one) && subjectOfCosignTag(one.tag ?? "") === undefined);
    assertStringIncludes(first.stdout, `${own.length} images to copy, 0 unchanged`);
    await assertMirrored(
      destination,
      images.filter((one) => !isList(one)).map((one) => ({ ...one, repository: `copy/${one.repository}` })),
    );

    const proxies = [sourceProxy, destinationProxy];
    for (const { requests } of proxies) requests.length = 0;
    for (let run = 2; run <= 3; run++) {
      const next = await workspace.run(["--config", config]);
      assertEquals(next.code, 0, next.stdout + next.stderr);
      assertStringIncludes(next.stdout, `0 images to copy, ${own.length} unchanged`);
      assertStringIncludes(next.stdout, `Images: 0 copied, ${own.length} unchanged`);
    }
    const kinds = proxies.flatMap(({ requests }) => requests.map(({ method, kind }) => `${method} ${kind}`));
    // Lists of referrers are read again where there are any: only the images kept beside a checkout have some.
    const lists = images.some(isList) ? ["GET manifest"] : [];
    assertEquals([...new Set(kinds)].sort(), [...lists, "GET ping", "GET tags", "HEAD manifest"]);
  },
);
