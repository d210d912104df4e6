/**
 * The demo, `deno task demo`: two registries on loopback, one filled with images, mirrored into the other by the real
 * command line with a real config; then once more, to see that nothing is left to do.
 */

import {
  buildArtifact,
  buildHelmChart,
  buildImage,
  buildIndex,
  buildLayer,
  buildMultiPlatform,
  type Image,
  pushImage,
  walkImage,
} from "./images.ts";
import { createRegistry, serve, type TestRegistry } from "./registry.ts";

const MEBIBYTE = 1024 * 1024;
const ROOT = new URL("../", import.meta.url);

/** A registry that listens, with the name it plays under. */
interface Party {
  host: string;
  registry: TestRegistry;
}

if (import.meta.main) Deno.exit(await runDemo() ? 0 : 1);

/** Shows two runs; `false` when anything is not as it should be. */
async function runDemo(): Promise<boolean> {
  const [source, destination] = [createRegistry(), createRegistry()];
  await using sourceServer = serve(source);
  await using destinationServer = serve(destination);
  const directory = await Deno.makeTempDir({ prefix: "image-syncer-demo-" });
  try {
    const parties = {
      source: { host: sourceServer.host, registry: source },
      destination: { host: destinationServer.host, registry: destination },
    };
    return await playDemo(parties, directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function playDemo(parties: { source: Party; destination: Party }, directory: string): Promise<boolean> {
  const { source, destination } = parties;
  fillRegistry(source.registry);
  const config = formatConfig(source.host, destination.host);
  await Deno.writeTextFile(`${directory}/config.json`, config);

  say(`Two registries on this machine: ${source.host} holds`, listImages(source.registry));
  say(`and ${destination.host} is empty. The config says what goes where:`, config.trimEnd());
  say("First run: everything is copied.", "$ deno run -A cli.ts --config config.json");
  const first = await runCli(directory);
  const copied = countTags(destination.registry);

  say("Second run: everything is found unchanged.", "$ deno run -A cli.ts --config config.json");
  for (const { registry } of [source, destination]) registry.resetLog();
  const second = await runCli(directory);

  const problems = [
    ...first === 0 && second === 0 ? [] : [`the runs ended with ${first} and ${second} instead of 0`],
    ...findDifferences(source.registry, destination.registry),
    ...findTraffic([source.registry, destination.registry]),
  ];
  for (const problem of problems) console.log(`\nNot as it should be: ${problem}`);
  if (problems.length === 0) console.log(`\n${verdict(parties, copied)}`);
  return problems.length === 0;
}

function say(heading: string, text: string): void {
  console.log(`\n${heading}\n\n${text.replaceAll(/^/gm, "    ")}\n`);
}

/** Images for several platforms that share layers, a nested index, a chart and an artifact; about 60 MB. */
function fillRegistry(registry: TestRegistry): void {
  const base = buildLayer(1, 6 * MEBIBYTE);
  for (const [index, tag] of ["1.26", "1.27", "latest"].entries()) {
    const platforms = ["amd64", "arm64", "arm/v7"].map((text, place) => {
      const [architecture = "", variant] = text.split("/");
      const seed = 10 + Math.min(index, 1) * 10 + place;
      const platform = { os: "linux", architecture, ...(variant !== undefined && { variant }) };
      return buildImage({ seed, platform, layers: [base, buildLayer(seed, 4 * MEBIBYTE)] });
    });
    pushImage(registry, "library/web", tag, buildIndex(platforms));
  }
  pushImage(registry, "library/worker", "v3", buildImage({ seed: 40, layers: [base, buildLayer(41, 9 * MEBIBYTE)] }));
  const tools = buildMultiPlatform(["amd64", "s390x"], { seed: 50, layerSize: 3 * MEBIBYTE, attestations: true });
  pushImage(registry, "team/tools", "nested", buildIndex([tools, buildImage({ seed: 60 })]));
  pushImage(registry, "team/chart", "2.1.0", buildHelmChart(70));
  pushImage(registry, "team/model", "v1", buildArtifact({ seed: 80, artifactType: "application/vnd.demo.model" }));
}
