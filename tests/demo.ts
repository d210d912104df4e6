/**
 * The demo, `deno task demo`: two registries on loopback, one filled with images, mirrored into the other by the real
 * command line with a real config; then once more, to see that nothing is left to do.
 */

import { findDifferences, findTraffic } from "./demo/check.ts";
import { fillRegistry, PLACES } from "./demo/content.ts";
import { slowBlobs } from "./demo/slow_blobs.ts";
import { walkImage } from "./images.ts";
import { createRegistry, serve, type TestRegistry } from "./registry.ts";

const CLI = new URL("../cli.ts", import.meta.url).href;
const COMMAND = "deno run -A cli.ts --config config.json";

/** Bytes a second of each blob that the source serves: without a brake there would be nothing to see. */
const BYTES_PER_SECOND = 6_000_000;

if (import.meta.main) Deno.exit(await runDemo() ? 0 : 1);

/** Shows two runs; `false` when anything is not as it should be. */
async function runDemo(): Promise<boolean> {
  const source = createRegistry({ intercept: slowBlobs(BYTES_PER_SECOND) });
  const destination = createRegistry();
  await using sourceServer = serve(source);
  await using destinationServer = serve(destination);
  const directory = await Deno.makeTempDir({ prefix: "image-syncer-demo-" });
  try {
    const config = configText(sourceServer.host, destinationServer.host);
    await Deno.writeTextFile(`${directory}/config.json`, config);
    return await playDemo({ source, destination, directory, config });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

interface Stage {
  source: TestRegistry;
  destination: TestRegistry;
  /** Where the command runs and keeps its records. */
  directory: string;
  /** Text of the config. */
  config: string;
}

async function playDemo({ source, destination, directory, config }: Stage): Promise<boolean> {
  const images = fillRegistry(source);
  const manifests = new Set(images.flatMap((image) => walkImage(image).map(({ digest }) => digest)));
  const megabytes = [...source.blobs.values()].reduce((sum, { size }) => sum + size, 0) / 1e6;
  heading("Two registries on this machine, one filled with images, one empty, and a config");
  console.log(config);

  heading(`First run: everything is copied\n$ ${COMMAND}`);
  const first = await runCli(directory);

  heading(`Second run: everything is unchanged\n$ ${COMMAND}`);
  for (const registry of [source, destination]) registry.resetLog();
  const second = await runCli(directory);

  const problems = [
    ...[first, second].filter((code) => code !== 0).map((code) => `a run ended with exit code ${code}`),
    ...findDifferences(source, destination),
    ...findTraffic([source, destination]),
  ];
  if (problems.length > 0) heading(`Not as it should be:\n${problems.join("\n")}`);
  else {
    heading(
      `Shown: ${PLACES.length} images (${manifests.size} manifests, ${
        megabytes.toFixed(0)
      } MB of blobs) arrived with ` +
        `identical digests,\nand the second run asked ${
          source.count() + destination.count()
        } short questions ` +
        "and moved no image data at all.",
    );
  }
  return problems.length === 0;
}

function heading(text: string): void {
  console.log(`\n== ${text.replaceAll("\n", "\n   ")}\n`);
}

/** A config as a person writes it, with comments and a trailing comma. */
function configText(source: string, destination: string): string {
  return `{
  "auth": {                                  // both speak plain http and ask for no password
    "${source}": { "insecure": true },
    "${destination}": { "insecure": true },
  },
  "images": {
    // every tag: three images for three platforms each, which share a layer
    "${source}/library/web": "${destination}/mirror/web",
    // one tag, under another name
    "${source}/library/worker:v3": "${destination}/mirror/worker:stable",
    // an index in an index, with attestations
    "${source}/team/tools": "${destination}/mirror/tools",
    // a Helm chart to two places, and an artifact
    "${source}/team/chart:2.1.0": [
      "${destination}/charts/one",
      "${destination}/charts/two",
    ],
    "${source}/team/model": "${destination}/mirror/model",
  }
}`;
}

/** Runs the real command; what it prints goes where this program prints. */
async function runCli(directory: string): Promise<number> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", CLI, "--config", "config.json"],
    cwd: directory,
  });
  return (await command.spawn().status).code;
}
