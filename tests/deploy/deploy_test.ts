/** A mirror as Deno Deploy runs it: several runs for one mirror, killed in the middle, and its page in a browser. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openBrowser } from "../browser.ts";
import { buildImage, largeLayer, pushImage } from "../images.ts";
import { createRegistry, serve, type TestRegistry } from "../registry.ts";
import { type DeployProcess, startDeploy } from "./deploy_process.ts";

const TOKEN = "correct-horse-battery-staple";
const HEADERS = { authorization: `Bearer ${TOKEN}` };
const IMAGES = 200;
/** The put at which the process is killed. */
const KILLED_AT = 60;
/** Milliseconds that each manifest takes, one after the other: more than four runs of a second in all. */
const SLOWNESS = 40;
const MEGABYTE = 1024 * 1024;

/** A destination that puts one manifest after the other, slowly, and tells which put it is at. */
function slowRegistry(onPut: (count: number) => void): TestRegistry {
  let last: Promise<unknown> = Promise.resolve();
  let count = 0;
  return createRegistry({
    discardBlobs: true,
    allowMissingBlobs: true,
    intercept: async (request, { kind }) => {
      if (kind !== "manifest" || request.method !== "PUT") return undefined;
      onPut(++count);
      last = last.then(() => new Promise((resolve) => setTimeout(resolve, SLOWNESS)));
      await last;
      return undefined;
    },
  });
}

/** Runs once; the answer breaks off when the process is killed. */
async function runOnce({ url }: DeployProcess): Promise<string> {
  try {
    const response = await fetch(`${url}/run`, { method: "POST", headers: HEADERS });
    const lines = (await response.text()).trim().split("\n");
    return JSON.parse(lines.at(-1) ?? "{}").run?.outcome ?? "broken off";
  } catch {
    return "broken off";
  }
}

/** The most memory a process has had, in bytes; Linux only. */
async function peakOf({ child }: DeployProcess): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${child.pid}/status`);
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? NaN) * 1024;
}

Deno.test("deploy.ts completes over several runs a mirror larger than one, although it is killed", async () => {
  const directory = await Deno.makeTempDir();
  const source = createRegistry();
  for (let seed = 0; seed < IMAGES; seed++) pushImage(source, "team/app", `v${seed}`, buildImage({ seed }));
  pushImage(
    source,
    "team/app",
    "large",
    buildImage({ seed: 999, layers: [largeLayer(999, 256 * MEGABYTE)] }),
  );
  let process: DeployProcess | undefined;
  const destination = slowRegistry((count) =>
    count === KILLED_AT ? process?.child.kill("SIGKILL") : undefined
  );
  await using from = serve(source);
  await using to = serve(destination);
  const environment = {
    IMAGE_SYNCER_CONFIG: JSON.stringify({
      auth: { [from.host]: { insecure: true }, [to.host]: { insecure: true } },
      images: { [`${from.host}/team/app`]: `${to.host}/mirror/app` },
    }),
    IMAGE_SYNCER_TOKEN: TOKEN,
    IMAGE_SYNCER_BUDGET: "1",
    IMAGE_SYNCER_SCHEDULE: "0 0 1 1 *",
    DENO_KV_DEFAULT_PATH: `${directory}/kv.db`,
  };
  try {
    const outcomes: string[] = [];
    process = await startDeploy(environment);
    while (outcomes.at(-1) !== "done" && outcomes.length < 60) {
      outcomes.push(await runOnce(process));
      if (outcomes.at(-1) !== "broken off") continue;
      assertEquals((await process.ended).signal, "SIGKILL");
      process = await startDeploy(environment);
    }
    assertEquals(outcomes.filter((outcome) => outcome === "broken off").length, 1);
    assert(outcomes.length > 4, `${outcomes}`);
    assertEquals([outcomes.at(-1), new Set(outcomes.slice(0, -1))], [
      "done",
      new Set(["stopped", "broken off"]),
    ]);
    assertEquals(destination.repositories.get("mirror/app")?.tags.size, IMAGES + 1);
    const status = await (await fetch(`${process.url}/status`, { headers: HEADERS })).json();
    const kept: string[] = status.runs.map(({ outcome }: { outcome: string }) => outcome);
    assertEquals(kept, outcomes.map((outcome) => outcome === "broken off" ? "killed" : outcome));
    assertEquals([status.isRunning, status.rules[0].state], [false, "ok"]);
    assertEquals([status.rules[0].images, status.rules[0].pending], [IMAGES + 1, 0]);
    if (Deno.build.os === "linux") {
      const peak = await peakOf(process);
      assert(peak < 512 * MEGABYTE, `${peak} bytes of memory`);
    }
    await lookAt(process.url);
    process.child.kill("SIGINT");
    assertEquals((await process.ended).code, 0);
    using kv = await Deno.openKv(environment.DENO_KV_DEFAULT_PATH);
    assertEquals(await Array.fromAsync(kv.list({ prefix: ["image-syncer", "lease"] })), []);
  } finally {
    if (process !== undefined) await end(process);
    await Deno.remove(directory, { recursive: true });
  }
});

/** Looks at the page as anybody, then signs in as an operator. */
async function lookAt(url: string): Promise<void> {
  await using browser = await openBrowser();
  if (browser === undefined) return;
  const page = await browser.openPage({ width: 1100, height: 900, scheme: "light" });
  const textOf = async () => String(await page.evaluate("document.body.innerText"));
  await page.go(url);
  const open = await textOf();
  assertStringIncludes(open, "Healthy");
  assert(!open.includes("team/app"), open);
  await page.load(() => page.evaluate("document.querySelector('a[href=\"/sign-in\"]').click()"));
  await page.evaluate(`document.querySelector("input").value = ${JSON.stringify(TOKEN)}`);
  await page.load(() => page.evaluate('document.querySelector("button").click()'));
  const full = await textOf();
  assertStringIncludes(full, "team/app");
  assertStringIncludes(full, `${IMAGES + 1} images`);
  assertStringIncludes(full, "Run now");
  assertEquals(await page.evaluate('document.querySelectorAll("svg rect.killed").length'), 1);
  await page.picture("deploy");
}

async function end({ child, ended }: DeployProcess): Promise<void> {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended by itself.
  }
  await ended;
}

Deno.test("deploy.ts stops between blobs when it is asked to, and says what was left", async () => {
  const directory = await Deno.makeTempDir();
  const source = createRegistry();
  for (let seed = 0; seed < IMAGES; seed++) pushImage(source, "team/app", `v${seed}`, buildImage({ seed }));
  let process: DeployProcess | undefined;
  const destination = slowRegistry((count) => count === 20 ? process?.child.kill("SIGINT") : undefined);
  await using from = serve(source);
  await using to = serve(destination);
  const environment = {
    IMAGE_SYNCER_CONFIG: JSON.stringify({
      auth: { [from.host]: { insecure: true }, [to.host]: { insecure: true } },
      images: { [`${from.host}/team/app`]: `${to.host}/mirror/app` },
    }),
    IMAGE_SYNCER_TOKEN: TOKEN,
    DENO_KV_DEFAULT_PATH: `${directory}/kv.db`,
  };
  try {
    process = await startDeploy(environment);
    assertEquals(await runOnce(process), "stopped");
    assertEquals((await process.ended).code, 0);
    const copied = destination.repositories.get("mirror/app")?.tags.size ?? 0;
    assert(copied >= 20 && copied < IMAGES, `${copied} images were copied`);
  } finally {
    if (process !== undefined) await end(process);
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("fault 36: whatever is wrong at the start, deploy.ts has a page that says so to who has the token", async () => {
  const config = '{"images": {"alpine": "r.io/alpine"}}';
  const cases: [environment: Record<string, string>, message: string, health: number][] = [
    [
      { IMAGE_SYNCER_CONFIG: config, IMAGE_SYNCER_SCHEDULE: "0 0 * * 8" },
      'Cannot use schedule "0 0 * * 8"',
      503,
    ],
    [{ IMAGE_SYNCER_CONFIG: config, IMAGE_SYNCER_BUDGET: "soon" }, "Cannot use IMAGE_SYNCER_BUDGET", 503],
    [{ IMAGE_SYNCER_CONFIG: "{" }, "Cannot read config", 200],
    [{ IMAGE_SYNCER_CONFIG_FILE: "/nowhere/cfg.json" }, 'there is no file "/nowhere/cfg.json"', 200],
    [
      { IMAGE_SYNCER_CONFIG: config, IMAGE_SYNCER_STORE: "kv:/nowhere/kv.db" },
      "Cannot open Deno KV store",
      503,
    ],
  ];
  await Promise.all(cases.map(async ([environment, message, health]) => {
    const more = { DENO_KV_DEFAULT_PATH: ":memory:", IMAGE_SYNCER_TOKEN: TOKEN };
    const process = await startDeploy({ ...more, ...environment });
    try {
      const full = await (await fetch(`${process.url}/status`, { headers: HEADERS })).json();
      assertStringIncludes(full.problem, message);
      assertStringIncludes(await (await fetch(process.url)).text(), "Cannot run");
      const open = await (await fetch(`${process.url}/status`)).text();
      assert(!open.includes(message) && !open.includes("nowhere"), open);
      const healthz = await fetch(`${process.url}/healthz`);
      assertEquals([healthz.status, (await healthz.text()).includes("nowhere")], [health, false]);
      process.child.kill("SIGINT");
      assertEquals((await process.ended).code, 0);
    } finally {
      await end(process);
    }
  }));
});
