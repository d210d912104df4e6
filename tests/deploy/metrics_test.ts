/** The metrics and the alert rules, as Prometheus' own tool reads them. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parse } from "yaml";
import { formatMetrics, METRICS_TYPE } from "../../src/machine/site/metrics.ts";
import { hideNames } from "../../src/machine/site/status_view.ts";
import { serve } from "../registry.ts";
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

/** A Prometheus that has scraped these metrics; `undefined`, and a warning, where there is no such program. */
async function withPrometheus(
  metrics: string,
  test: (query: (expr: string) => Promise<unknown[]>) => Promise<void>,
) {
  if (await promtool(["--version"]) === undefined) return;
  const directory = await Deno.makeTempDir();
  const scraped = Promise.withResolvers<void>();
  let count = 0;
  await using target = serve(() => {
    // The second scrape begins once the first has been stored.
    if (++count === 2) scraped.resolve();
    return Promise.resolve(new Response(metrics, { headers: { "content-type": METRICS_TYPE } }));
  });
  const config = {
    global: { scrape_interval: "100ms", scrape_timeout: "100ms" },
    scrape_configs: [{ job_name: "mirror", static_configs: [{ targets: [target.host] }] }],
  };
  await Deno.writeTextFile(`${directory}/prometheus.yml`, JSON.stringify(config));
  using reserved = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const address = `127.0.0.1:${(reserved.addr as Deno.NetAddr).port}`;
  reserved.close();
  const args = [`--config.file=${directory}/prometheus.yml`, `--storage.tsdb.path=${directory}/data`];
  const child = new Deno.Command("prometheus", {
    args: [...args, `--web.listen-address=${address}`],
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    await scraped.promise;
    await test(async (expr) => {
      const body = new URLSearchParams({ query: expr });
      const { status, error, data } =
        await (await fetch(`http://${address}/api/v1/query`, { method: "POST", body })).json();
      assertEquals([status, error], ["success", undefined], expr);
      return data.result;
    });
  } finally {
    child.kill("SIGKILL");
    await child.status;
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("each query of the Grafana dashboard finds something in a Prometheus that has scraped a mirror", () =>
  withPrometheus(formatMetrics(sampleView({ progress: PROGRESS })), async (query) => {
    const { panels } = JSON.parse(
      await Deno.readTextFile(new URL("../../docs/grafana.json", import.meta.url)),
    );
    for (const { title, targets } of panels) {
      for (const { expr } of targets) {
        // What has only just been scraped has no rate yet, but what it would be the rate of.
        const plain = expr.replaceAll('job=~"$job"', 'job="mirror"').replace(
          /(?:rate|increase)\((.*?)\[1[hd]\]\)/,
          "($1)",
        );
        assert((await query(plain)).length > 0, `${title}: ${plain}`);
        await query(expr.replaceAll('job=~"$job"', 'job="mirror"'));
      }
    }
  }));
