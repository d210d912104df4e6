/** The numbers of a scheduled mirror in the text format of Prometheus, named by its conventions. */

// prom-client is what most programs use for this. Here it would cost 70 ms, 10 MB and four packages for what are a few lines of
// text, and `deno compile` 2.9 ends with a stack overflow on it, so that there would be no binary.
import type { Outcome, RunRecord } from "../service/status.ts";
import type { StatusView } from "./status_view.ts";

/** The content type of {@linkcode formatMetrics}. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** One number, with what it is a number of. */
type Sample = [labels: Record<string, string>, value: number];

/** Numbers of one kind. */
interface Metric {
  type: "counter" | "gauge";
  name: string;
  help: string;
  samples: Sample[];
}

/** Outcomes of runs; each has a number from the start, because an alert cannot compare with what is not there. */
const OUTCOMES: Exclude<Outcome, "running">[] = ["done", "failed", "stopped", "error", "killed"];
const IMAGE_OUTCOMES = ["copied", "unchanged", "skipped", "failed", "pending", "drifted"] as const;

/** Spells what a view shows; a view without names gives numbers without names. */
export function formatMetrics(view: StatusView): string {
  const metrics = [
    gauge("build_info", "Always 1, with the version of the program", [[{ version: view.version }, 1]]),
    ...runMetrics(view),
    ...lastRunMetrics(view.last),
    ...sumMetrics(view),
    ...ruleMetrics(view),
  ];
  return metrics.filter(({ samples }) => samples.length > 0).map(formatMetric).join("");
}

function formatMetric({ type, name, help, samples }: Metric): string {
  const full = `image_syncer_${name}`;
  const lines = samples.map(([labels, value]) => `${full}${formatLabels(labels)} ${value}`);
  return [`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`, ...lines, ""].join("\n");
}

function formatLabels(labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeValue(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** Prometheus' text format 0.0.4: a label's value has its backslashes, quotes and ends of lines escaped. */
function escapeValue(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}

function runMetrics({ isRunning, progress, schedule, problem }: StatusView): Metric[] {
  const next: Sample[] = schedule === undefined ? [] : [[{}, seconds(schedule.nextRunAt)]];
  const totals = progress?.totals;
  const images = totals === undefined ? [] : samplesOf("outcome", IMAGE_OUTCOMES, totals);
  const left: Sample[] = progress?.secondsLeft === undefined ? [] : [[{}, Math.round(progress.secondsLeft)]];
  return [
    gauge("config_ok", "Whether the config can be used", single(problem === undefined ? 1 : 0)),
    gauge("run_active", "Whether a run is on", single(isRunning ? 1 : 0)),
    gauge("run_images", "Images of the run that is on, by what has become of them so far", images),
    gauge("run_read_bytes", "Bytes read from sources in the run that is on", single(progress?.read ?? 0)),
    gauge("run_left_seconds", "Time that the run that is on still takes, as far as it is known", left),
    gauge("next_run_timestamp_seconds", "When the next run is due", next),
  ];
}

/** 0 stands for never, so that an alert for what has not happened for long fires for what has never happened. */
function lastRunMetrics(run: RunRecord | undefined): Metric[] {
  const ended = run?.finishedAt === undefined ? 0 : seconds(run.finishedAt);
  const duration = run === undefined || ended === 0 ? 0 : ended - seconds(run.startedAt);
  const outcome = Object.fromEntries(OUTCOMES.map((one) => [one, one === run?.outcome ? 1 : 0]));
  return [
    gauge("last_run_timestamp_seconds", "When the last run ended, 0 for never", single(ended)),
    gauge("last_run_duration_seconds", "How long the last run took", single(duration)),
    gauge(
      "last_run_outcome",
      "1 for how the last run ended, 0 for all else",
      samplesOf("outcome", OUTCOMES, outcome),
    ),
    gauge(
      "last_run_images",
      "Images of the last run by outcome",
      samplesOf("outcome", IMAGE_OUTCOMES, run?.totals ?? {}),
    ),
    gauge(
      "last_run_failed_rules",
      "Rules that could not be turned into images",
      single(run?.totals.rulesFailed ?? 0),
    ),
  ];
}

function sumMetrics({ sums }: StatusView): Metric[] {
  const requests = Object.entries(sums.requests).flatMap(([registry, counts]) =>
    Object.entries(counts).map(([code, count]): Sample => [{ registry, code }, count])
  );
  const { copied, mounted, skipped } = sums.bytes;
  const limits = Object.entries(sums.rateLimits).map(([registry, left]): Sample => [{ registry }, left]);
  return [
    counter("runs_total", "Runs by outcome", samplesOf("outcome", OUTCOMES, sums.runs)),
    counter(
      "images_total",
      "Images (a tag at one destination) by outcome, in each run anew",
      samplesOf("outcome", IMAGE_OUTCOMES, sums.images),
    ),
    counter(
      "failed_rules_total",
      "Rules that could not be turned into images",
      single(sums.images.rulesFailed ?? 0),
    ),
    counter("sent_bytes_total", "Bytes of blobs sent to destinations", single(copied)),
    counter(
      "mounted_bytes_total",
      "Bytes of blobs taken from other repositories of the destination",
      single(mounted),
    ),
    counter("present_bytes_total", "Bytes of blobs that were at the destination already", single(skipped)),
    counter("requests_total", "Requests by registry and status code, 0 without an answer", requests),
    gauge("rate_limit_remaining", "Pulls a registry says are left", limits),
  ];
}

function ruleMetrics({ rules = [], ruleCounts, oldestSuccessAt }: StatusView): Metric[] {
  const each = (valueOf: (rule: typeof rules[number]) => number) =>
    rules.map((rule): Sample => [{ rule: rule.source }, valueOf(rule)]);
  const success = each(({ lastSuccessAt }) => lastSuccessAt === undefined ? 0 : seconds(lastSuccessAt));
  const oldest = oldestSuccessAt === undefined ? 0 : seconds(oldestSuccessAt);
  const states = Object.entries(ruleCounts).map(([state, count]): Sample => [{ state }, count]);
  return [
    gauge("rules", "Rules by state", states),
    gauge(
      "oldest_success_timestamp_seconds",
      "The earliest last success of any rule, 0 for never",
      single(oldest),
    ),
    gauge(
      "last_success_timestamp_seconds",
      "When a run last left nothing of a rule to be copied, 0 for never",
      success,
    ),
    gauge(
      "rule_failed_images",
      "Images of a rule that failed in the last run",
      each(({ failureCount }) => failureCount),
    ),
    counter("rule_sent_bytes_total", "Bytes sent for a rule", each(({ bytes }) => bytes)),
    counter("rule_pulls_total", "Manifests pulled from a rule's source", each(({ pulls }) => pulls)),
  ];
}

function gauge(name: string, help: string, samples: Sample[]): Metric {
  return { type: "gauge", name, help, samples };
}

function counter(name: string, help: string, samples: Sample[]): Metric {
  return { type: "counter", name, help, samples };
}

function single(value: number): Sample[] {
  return [[{}, value]];
}

function samplesOf(
  label: string,
  keys: readonly string[],
  counts: Partial<Record<string, number>>,
): Sample[] {
  return keys.map((key) => [{ [label]: key }, counts[key] ?? 0]);
}

function seconds(time: string): number {
  return Date.parse(time) / 1000;
}
