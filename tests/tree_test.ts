/** Tests of `image-syncer tree`: what belongs to an image, as a person reads it. */

import { assertEquals } from "@std/assert";
import { treeLines } from "../src/machine/doors/commands/tree_command.ts";
import { Belongings } from "../src/mirror/plan/belongings.ts";
import { MemoryStore } from "../src/mirror/store/memory_store.ts";
import { fallbackTagOf } from "../src/oci/referrers.ts";
import { buildArtifact, buildImage, buildIndex, buildMultiPlatform, pushImage } from "./images.ts";
import { setUpMirror, SOURCE } from "./mirror_setup.ts";

for (const noReferrers of [false, true]) {
  Deno.test(`treeLines() shows referrers, cosign's tags and what belongs to those (API: ${!noReferrers})`, async () => {
    const setup = setUpMirror({ source: { quirks: { noReferrers } } });
    const image = buildMultiPlatform(["amd64", "arm/v7"]);
    const [amd64, arm] = image.children;
    const sbom = buildArtifact({ seed: 2, artifactType: "application/vnd.test.sbom", subject: image });
    const signature = buildArtifact({
      seed: 3,
      artifactType: "application/vnd.test.signature",
      subject: sbom,
    });
    const tagged = buildImage({ seed: 4 });
    const tag = `${amd64?.digest.replace(":", "-")}.sig`;
    pushImage(setup.source, "app", "v1", image);
    pushImage(setup.source, "app", tag, tagged);
    for (const [subject, one] of [[image, sbom], [sbom, signature]] as const) {
      pushImage(setup.source, "app", undefined, one);
      if (noReferrers) {
        pushImage(
          setup.source,
          "app",
          fallbackTagOf(subject.digest),
          buildIndex([one], { withoutPlatforms: true }),
        );
      }
    }
    const registries = setup.registries();
    const repository = registries.open({ registry: SOURCE, repository: "app" }, "pull");
    const store = new MemoryStore();
    const belongings = new Belongings({ registries, store, every: 0, onWarning: () => {} });
    assertEquals(await treeLines(repository, "v1", belongings), [
      `└── application/vnd.oci.image.index.v1+json  ${image.digest}`,
      `    ├── application/vnd.test.sbom  ${sbom.digest}`,
      `    │   └── application/vnd.test.signature  ${signature.digest}`,
      `    ├── linux/amd64  ${amd64?.digest}`,
      `    │   └── application/vnd.dev.cosign.artifact.sig.v1+json  ${tagged.digest}  (tag ${tag})`,
      `    └── linux/arm/v7  ${arm?.digest}`,
    ]);
  });
}
