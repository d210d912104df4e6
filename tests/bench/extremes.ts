/** What very large jobs and dead registries cost this tool alone, between registries in memory: `deno task bench:extremes`. */

import { parseArgs } from "@std/cli/parse-args";
import { buildArtifact, buildImage, buildIndex, type Image, pushImage } from "../images.ts";
import { createRegistry, digestBytes, serve, type TestRegistry } from "../registry.ts";
import { measureLiveMemory } from "./live_memory.ts";
import { measure, type Measured } from "./measured_run.ts";
import { inFolder } from "./runner.ts";
import { measureTagMemory } from "./tag_memory.ts";

const HELP = `Measures this tool at extremes: deno task bench:extremes [isolation] [index] [tags]

  --children N   children of the index (default 27000)
  --tags N       unchanged tags in one page (default 300000)
  --cli PATH     entry point to measure (default the one of this checkout)`;

const GOOD = 7;
const TAGS = 5;
const MEGABYTE = 1e6;

interface Size {
  children: number;
  tags: number;
  cli: string;
}

const ROWS: Record<string, (size: Size) => Promise<void>> = {
  isolation: runIsolation,
  index: runIndex,
  tags: runTags,
};

/** Seven good registries alone, then beside one that is silent, one that refuses and one that drips. */
async function runIsolation({ cli }: Size): Promise<void> {
  const goods = Array.from({ length: GOOD }, (_, registry) => {
    const good = createRegistry();
    for (let tag = 0; tag < TAGS; tag++) {
      pushImage(good, "a/b", `v${tag}`, buildImage({ seed: registry * 100 + tag, layers: 2 }));
    }
    return serve(good);
  });
  const hosts = goods.map(({ host }) => host);
  const bad = [badHost("silent"), badHost("refusing"), badHost("dripping")];
  for (const sources of [hosts, [...bad, ...hosts]]) {
    const destination = createRegistry();
    await using server = serve(destination);
    const startedAt = performance.now();
    // The in-memory registry does not keep times, so that its last manifest is looked for as it comes.
    let arrived = 0;
    let last = 0;
    const timer = setInterval(() => {
      const now = manifestsPut(destination);
      if (now > arrived) [arrived, last] = [now, (performance.now() - startedAt) / 1000];
    }, 20);
    const pairs = sources.map((host, index) => [`${host}/a/b`, `${server.host}/c/r${index}`] as const);
    const { wall, code } = await runOurs(cli, pairs);
    clearInterval(timer);
    const name = sources === hosts ? `${GOOD} good registries` : `${GOOD} good, silent, refusing, dripping`;
    print(name, {
      code,
      images: `${arrived} of ${GOOD * TAGS}`,
      "last image": seconds(last),
      end: seconds(wall),
    });
  }
  await Promise.all(goods.map((good) => good.close()));
}

function manifestsPut({ requests }: TestRegistry): number {
  return requests.filter(({ method, kind }) => method === "PUT" && kind === "manifest").length;
}

/** A host that takes connections and says nothing, takes none, or sends a byte a second of its answer. */
function badHost(kind: "silent" | "refusing" | "dripping"): string {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  if (kind === "refusing") listener.close();
  else void takeAll(listener, kind === "dripping");
  return `127.0.0.1:${listener.addr.port}`;
}

async function takeAll(listener: Deno.Listener, drips: boolean): Promise<void> {
  for await (const connection of listener) {
    void (drips ? drip(connection) : connection.readable.pipeTo(new WritableStream())).catch(() => {});
  }
}

async function drip(connection: Deno.Conn): Promise<void> {
  await connection.read(new Uint8Array(4096));
  const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
  await connection.write(new TextEncoder().encode(head));
  while (true) {
    await connection.write(new Uint8Array([32]));
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** One index of very many children, cold. */
async function runIndex({ cli, children }: Size): Promise<void> {
  const source = createRegistry();
  const artifacts = Array.from(
    { length: children },
    (_, child) => buildArtifact({ layerMediaType: "", annotations: { n: `${child}` } }),
  );
  pushImage(source, "a/b", "v1", compact(buildIndex(artifacts, { withoutPlatforms: true })));
  await using from = serve(source);
  await using to = serve(createRegistry());
  await using other = serve(createRegistry());
  const { wall, code, cpu = NaN, memory = NaN } = await runOurs(cli, [[
    `${from.host}/a/b`,
    `${to.host}/c/b`,
  ]]);
  const { cold } = await measureLiveMemory(`${from.host}/a/b`, `${other.host}/c/b`);
  const figures = {
    CPU: seconds(cpu),
    peak: megabytes(memory),
    "in use at the highest": megabytes(cold),
  };
  print(`an index of ${children} children`, { code, ...figures, wall: seconds(wall) });
}

/** The same without white space: registries take manifests of up to 4 MiB. */
function compact(image: Image): Image {
  const bytes = new TextEncoder().encode(JSON.stringify(JSON.parse(new TextDecoder().decode(image.bytes))));
  return { ...image, bytes, digest: digestBytes(bytes) };
}

/** Very many tags that are the same on both sides. */
async function runTags({ tags }: Size): Promise<void> {
  const { bytes, unchanged } = await measureTagMemory(tags);
  print(`${tags} unchanged tags in one page`, { unchanged, "in use a tag": `${bytes} bytes` });
}

async function runOurs(cli: string, pairs: readonly (readonly [string, string])[]): Promise<Measured> {
  let measured: Measured | undefined;
  await inFolder(async (directory) => {
    const hosts = pairs.flat().map((name) => name.split("/")[0] ?? "");
    const auth = Object.fromEntries(hosts.map((host) => [host, { insecure: true }]));
    const config = { auth, images: Object.fromEntries(pairs) };
    await Deno.writeTextFile(`${directory}/config.json`, JSON.stringify(config));
    measured = await measure([[Deno.execPath(), "run", "-A", cli, "--config", "config.json"]], { directory });
  });
  if (measured === undefined) throw new Error("Cannot measure: nothing was run");
  return measured;
}

function print(name: string, figures: Record<string, unknown>): void {
  console.log(`${name}: ${Object.entries(figures).map(([what, figure]) => `${what} ${figure}`).join(", ")}`);
}

function seconds(figure: number): string {
  return `${figure.toFixed(1)} s`;
}

function megabytes(bytes: number): string {
  return `${(bytes / MEGABYTE).toFixed(0)} MB`;
}

if (import.meta.main) {
  const flags = parseArgs(Deno.args, { string: ["children", "tags", "cli"], boolean: ["help"] });
  const rows = flags._.length > 0 ? flags._.map(String) : Object.keys(ROWS);
  if (flags.help || rows.some((row) => !(row in ROWS))) {
    console.log(HELP);
    Deno.exit(flags.help ? 0 : 2);
  }
  const cli = flags.cli ?? new URL("../../cli.ts", import.meta.url).pathname;
  const size = { children: Number(flags.children ?? 27_000), tags: Number(flags.tags ?? 300_000), cli };
  for (const row of rows) await ROWS[row]?.(size);
  Deno.exit(0);
}
