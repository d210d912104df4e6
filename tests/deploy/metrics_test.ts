/** The metrics and the alert rules, as Prometheus' own tool reads them. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parse } from "yaml";
import { formatMetrics } from "../../src/machine/site/metrics.ts";
import { hideNames } from "../../src/machine/site/status_view.ts";
import { PROGRESS, sampleMemory, sampleView } from "../status_samples.ts";

const ALERTS = new URL("../../docs/alerts.yml", import.meta.url);

/** Runs `promtool`; `undefined`, and a warning that cannot be overlooked, where there is none. */
async function promtool(args: string[], input = ""): Promise<{ success: boolean; text: string } | undefined> {
  try {
    const child = new Deno.Command("promtool", { args, stdin: "piped", stdout: "piped", stderr: "piped" })
      .spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
    const { success, stdout, stderr } = await child.output();
    return { success, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const why = "Cannot check metrics: there is no promtool (on Debian: apt-get install prometheus)";
    if (Deno.env.get("CI")) throw new Error(why, { cause: error });
    console.warn(`\n*** NOT TESTED. ${why} ***\n`);
    return undefined;
  }
}

const VIEWS = {
  "of a mirror with a past": sampleView(),
  "of one that has never run": sampleView({ memory: { ...sampleMemory(), runs: [], rules: new Map() } }),
  "of a run that is on": sampleView({ progress: PROGRESS }),
  "of a config that cannot be used": sampleView({ config: undefined, problem: "no" }),
  "without names": hideNames(sampleView()),
};

for (const [name, view] of Object.entries(VIEWS)) {
  Deno.test(`fault 88: promtool finds nothing to say of the metrics ${name}`, async () => {
    assertEquals(await promtool(["check", "metrics"], formatMetrics(view)) ?? { success: true, text: "" }, {
      success: true,
      text: "",
    });
  });
}

Deno.test("fault 88: the alert rules are sound, and name only metrics that there are", async () => {
  const rules = await promtool(["check", "rules", ALERTS.pathname]);
  if (rules !== undefined) assertMatch(rules.text, /SUCCESS: 5 rules found/);
  const metrics = formatMetrics(sampleView());
  const { groups: [group] } = parse(await Deno.readTextFile(ALERTS));
  for (const { expr } of group.rules) {
    for (const [name] of expr.matchAll(/image_syncer_\w+/g)) assertStringIncludes(metrics, `# TYPE ${name} `);
  }
});

Deno.test("fault 88: a rule that was never complete raises its alert, and one that is complete does not", async () => {
  const directory = await Deno.makeTempDir();
  const series = (name: string, value: string) => ({
    series: `image_syncer_${name}`,
    values: `${value}x600`,
  });
  const test = {
    rule_files: [ALERTS.pathname],
    tests: [{
      interval: "1m",
      input_series: [
        series('last_success_timestamp_seconds{rule="never"}', "0"),
        series('last_success_timestamp_seconds{rule="well"}', "0+60"),
        series("config_ok", "1"),
      ],
      alert_rule_test: [{
        eval_time: "8h",
        alertname: "ImageMirrorRuleNotComplete",
        exp_alerts: [{
          exp_labels: { severity: "warning", rule: "never" },
          exp_annotations: { summary: "never has not been mirrored completely for six hours, or never was" },
        }],
      }, { eval_time: "8h", alertname: "ImageMirrorConfigBroken", exp_alerts: [] }],
    }],
  };
  try {
    await Deno.writeTextFile(`${directory}/test.yml`, JSON.stringify(test));
    const result = await promtool(["test", "rules", `${directory}/test.yml`]);
    assert(result?.success ?? true, result?.text);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
