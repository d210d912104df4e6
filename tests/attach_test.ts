/** Tests of two who attach to one fallback tag at once: nothing that either has listed is lost. */

import { assertEquals } from "@std/assert";
import { MemoryStore } from "../src/mirror/store/memory_store.ts";
import { treeOf } from "./belongings_setup.ts";
import { openWorkspace } from "./cli_process.ts";
import { buildArtifact, buildImage, type Image, pushImage } from "./images.ts";
import { DESTINATION, setUpMirror, SOURCE } from "./mirror_setup.ts";
import { createRegistry, serve, type TestRegistry } from "./registry.ts";

/** Rounds of two processes; `deno task attach` has a hundred. */
const ROUNDS = Number(Deno.env.get("ATTACH_ROUNDS") ?? 3);
const REPOSITORIES = ["one", "other"];

/** The same image in two repositories, with three referrers each that the other does not have. */
function pushBoth(source: TestRegistry, seed: number): Image {
  const image = buildImage({ seed });
  for (const [place, repository] of REPOSITORIES.entries()) {
    pushImage(source, repository, "v1", image);
    for (let number = 0; number < 3; number++) {
      const artifact = buildArtifact({
        seed: 10 * seed + 3 * place + number,
        artifactType: "application/vnd.test.sbom",
        annotations: { place: `${place} ${number}` },
        subject: image,
      });
      pushImage(source, repository, undefined, artifact);
    }
  }
  return image;
}

function listed(destination: TestRegistry, { digest }: Image): number {
  return treeOf(destination, "to/image")[digest]?.length ?? 0;
}

for (const hasTags of [true, false]) {
  Deno.test(`two runs that know nothing of each other list everything, a hundred times (If-Match: ${hasTags})`, async () => {
    for (let round = 0; round < 100; round++) {
      const setup = setUpMirror({
        destination: {
          quirks: { noReferrers: true },
          intercept: async (_, { next }) => {
            const response = await next();
            if (!hasTags) response.headers.delete("etag");
            return response;
          },
        },
      });
      const image = pushBoth(setup.source, 1000 * round);
      const sides = REPOSITORIES.map((name) => ({ name, store: new MemoryStore() }));
      const runBoth = () =>
        Promise.all(
          sides.map(({ name, store }) =>
            setup.run({ [`${SOURCE}/${name}:v1`]: `${DESTINATION}/to/image:${name}` }, { store })
          ),
        );
      const first = await runBoth();
      assertEquals(first.map(({ totals }) => totals.failed), [0, 0]);
      const again = await runBoth();
      assertEquals(again.map(({ totals }) => totals.failed), [0, 0]);
      assertEquals(listed(setup.destination, image), 6, `round ${round}`);
    }
  });
}

Deno.test(`two processes list everything after one more run of each, ${ROUNDS} times`, async () => {
  const source = createRegistry();
  const destination = createRegistry({ quirks: { noReferrers: true } });
  await using sourceServer = serve(source);
  await using destinationServer = serve(destination);
  await using workspace = await openWorkspace();
  const auth = { [sourceServer.host]: { insecure: true }, [destinationServer.host]: { insecure: true } };
  for (let round = 0; round < ROUNDS; round++) {
    source.repositories.clear();
    destination.repositories.clear();
    const image = pushBoth(source, 1000 * round);
    const configs: string[] = [];
    for (const name of REPOSITORIES) {
      const images = { [`${sourceServer.host}/${name}:v1`]: `${destinationServer.host}/to/image:${name}` };
      configs.push(await workspace.writeConfig({ auth, images }, `${name}.json`));
    }
    for (let run = 0; run < 2; run++) {
      const results = await Promise.all(
        configs.map((config, place) =>
          workspace.run(["--config", config, "--records", workspace.path(`records-${round}-${place}`)])
        ),
      );
      assertEquals(results.map(({ code }) => code), [0, 0], results.map(({ stdout }) => stdout).join("\n"));
    }
    assertEquals(listed(destination, image), 6, `round ${round}`);
  }
});
