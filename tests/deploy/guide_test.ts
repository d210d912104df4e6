/** What the guide and the action tell people to do, done. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { parse } from "yaml";
import { parseFlags } from "../../src/machine/config/flags.ts";
import { storeText } from "../../src/machine/doors/command_setup.ts";
import { parseSchedule } from "../../src/machine/service/schedule.ts";
import { parseLocation } from "../../src/machine/store/store_location.ts";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry, serve } from "../registry.ts";

const ROOT = new URL("../../", import.meta.url);
const readText = (path: string) => Deno.readTextFile(new URL(path, ROOT));

/** The YAML of the guide, in order: Prometheus, Job, CronJob, workflow. */
async function yamlOfGuide() {
  const blocks = [...(await readText("src/deno/DEPLOY.md")).matchAll(/^```yaml\n(.*?)^```/gms)];
  const [prometheus, job, cronJob, workflow, ...others] = blocks.map(([, text = ""]) => parse(text));
  assertEquals(others, []);
  return { prometheus, job, cronJob, workflow };
}

/** Runs a script with a program `image-syncer` on the path that repeats its arguments, one a line. */
async function argumentsGiven(script: string, env: Record<string, string>): Promise<string[]> {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/image-syncer`;
    await Deno.writeTextFile(path, '#!/bin/sh\nprintf "%s\\n" "$@"\n', { mode: 0o755 });
    const command = new Deno.Command("/bin/sh", {
      args: ["-c", script],
      env: { ...env, PATH: `${directory}:/usr/bin:/bin` },
    });
    return new TextDecoder().decode((await command.output()).stdout).trimEnd().split("\n");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("the guide's Job gives each of its pods another shard", async () => {
  const { spec } = (await yamlOfGuide()).job;
  const [container] = spec.template.spec.containers;
  const shards: string[] = [];
  for (let index = 0; index < spec.completions; index++) {
    const args = await argumentsGiven(container.args[0], { JOB_COMPLETION_INDEX: String(index) });
    const { shard } = parseFlags(args).flags;
    shards.push(`${shard?.index}/${shard?.count}`);
  }
  assertEquals(shards, ["1/8", "2/8", "3/8", "4/8", "5/8", "6/8", "7/8", "8/8"]);
  assertEquals([spec.completionMode, spec.parallelism], ["Indexed", 8]);
});

Deno.test("the guide's CronJob shares its work through a database", async () => {
  const { spec } = (await yamlOfGuide()).cronJob;
  parseSchedule(spec.schedule);
  const [container] = spec.jobTemplate.spec.template.spec.containers;
  const { flags, words } = parseFlags(container.args);
  assertEquals([words, flags.config], [[], "/config/cfg.json"]);
  assertEquals(parseLocation(storeText(flags)), { kind: "kv", rest: "http://denokv.tools.svc:4512" });
});

Deno.test("the guide's workflow has a shard for each of its jobs", async () => {
  const { strategy: { matrix }, steps } = (await yamlOfGuide()).workflow.jobs.mirror;
  assertEquals(matrix.shard, [1, 2, 3, 4, 5, 6, 7, 8]);
  assertEquals(steps[1].with.arguments, "--shard=${{ matrix.shard }}/8\n");
  const { inputs } = parse(await readText("action.yml"));
  for (const name of Object.keys(steps[1].with)) assert(name in inputs, `the action has no input ${name}`);
});

Deno.test("fault 47: the guide's pods run as the image's user, who owns what they write, and may become nobody else", async () => {
  const { job, cronJob } = await yamlOfGuide();
  const dockerfile = await readText("Dockerfile");
  const [, user = ""] = /^USER (\d+):\d+$/m.exec(dockerfile) ?? [];
  for (const { spec } of [job.spec.template, cronJob.spec.jobTemplate.spec.template]) {
    const { runAsNonRoot, runAsUser, fsGroup } = spec.securityContext;
    assertEquals([runAsNonRoot, runAsUser, fsGroup], [true, Number(user), Number(user)]);
    const [container] = spec.containers;
    assertEquals(container.securityContext, {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
    });
  }
});

Deno.test("fault 47: the action runs others' actions by commit, and the image may write wherever its user may", async () => {
  const { runs: { steps } } = parse(await readText("action.yml"));
  const uses = steps.flatMap(({ uses }: { uses?: string }) => uses ?? []);
  assertEquals(uses.filter((one: string) => !/^[\w/-]+@[0-9a-f]{40}$/.test(one)), []);
  assertStringIncludes(await readText("Dockerfile"), " --allow-write --allow-env ");
});

Deno.test("the guide names every variable that the program reads, and no other", async () => {
  const guide = await readText("src/deno/DEPLOY.md");
  const code = await Promise.all(
    ["src/deno/deploy_settings", "src/deno/deploy_app", "src/machine/doors/commands/serve_command"].map((
      name,
    ) => readText(`${name}.ts`)),
  );
  const namesIn = (text: string) =>
    new Set([...text.matchAll(/IMAGE_SYNCER_[A-Z_]+/g)].map(([name]) => name));
  assertEquals([...namesIn(guide)].sort(), [...namesIn(code.join("\n"))].sort());
});

Deno.test("the guide names every metric in its alerts as the program does", async () => {
  const guide = await readText("src/deno/DEPLOY.md");
  const metrics = await readText("src/machine/site/metrics.ts");
  assertStringIncludes(guide, "image_syncer_");
  for (const [, name = ""] of guide.matchAll(/image_syncer_([a-z_]+)/g)) {
    assertStringIncludes(metrics, `"${name}"`);
  }
});

Deno.test("fault 90: the action mirrors, keeps its records and says where the report is", async () => {
  const directory = await Deno.makeTempDir();
  const registry = createRegistry();
  pushImage(registry, "team/app", "v1", buildImage({ seed: 1 }));
  await using server = serve(registry);
  try {
    const { runs: { steps }, inputs } = parse(await readText("action.yml"));
    const { run, env } = steps.at(-1);
    assertEquals(Object.keys(env), ["CONFIG", "ARGUMENTS", "RECORDS"]);
    assertEquals(run.includes("${{"), false);
    await Deno.writeTextFile(
      `${directory}/cfg.json`,
      JSON.stringify({
        auth: { [server.host]: { insecure: true } },
        images: { [`${server.host}/team/app`]: `${server.host}/mirror/app` },
      }),
    );
    // The action's shell is bash, which takes what any shell takes; not every machine that runs tests has it.
    const command = new Deno.Command("sh", {
      args: ["-ec", run],
      cwd: directory,
      env: {
        CONFIG: "cfg.json",
        ARGUMENTS: "--shard=1/1\n\n--proc 3\n--force\n--output-success-images=images $(touch hacked).yaml\n",
        RECORDS: inputs.records.default,
        RUNNER_TEMP: directory,
        GITHUB_OUTPUT: `${directory}/output`,
        GITHUB_ACTION_PATH: decodeURIComponent(ROOT.pathname).replace(/\/$/, ""),
        PATH: `${Deno.execPath().replace(/\/[^/]+$/, "")}:${Deno.env.get("PATH")}`,
      },
    });
    const { success, stdout, stderr } = await command.output();
    assert(success, new TextDecoder().decode(stderr));
    assertStringIncludes(
      new TextDecoder().decode(stdout),
      "Finished, 0 sync tasks failed, 0 tasks generate failed",
    );
    const [, path = ""] = /^report=(.*)$/m.exec(await Deno.readTextFile(`${directory}/output`)) ?? [];
    assertEquals(JSON.parse(await Deno.readTextFile(path)).totals.copied, 1);
    const files = (await Array.fromAsync(Deno.readDir(directory))).map(({ name }) => name).sort();
    const names = [
      inputs.records.default,
      "cfg.json",
      "image-syncer-report.json",
      "images $(touch hacked).yaml",
      "output",
    ];
    assertEquals(files, names.sort());
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
