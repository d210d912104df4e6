/** The numbers of a scheduled mirror in the text format of Prometheus. */

// prom-client is what most programs use for this. Here it would cost 70 ms, 10 MB and four packages for what are a few lines of
// text, and `deno compile` 2.9 ends with a stack overflow on it, so that there would be no binary.
import type { RunRecord } from "../service/status.ts";
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

/** Spells what a view shows; a view without names gives numbers without names. */
export function formatMetrics(view: StatusView): string {
  return metricsOf(view).filter(({ samples }) => samples.length > 0).map(formatMetric).join("\n");
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

function metricsOf(view: StatusView): Metric[] {
  return [...runMetrics(view), ...sumMetrics(view), ...ruleMetrics(view)];
}

function runMetrics({ isRunning, last, schedule }: StatusView): Metric[] {
  const next: Sample[] = schedule === undefined ? [] : [[{}, seconds(schedule.nextRunAt)]];
  return [
    gauge("run_active", "Whether a run is on", [[{}, isRunning ? 1 : 0]]),
    gauge("next_run_timestamp_seconds", "When the next run is due", next),
    ...(last === undefined ? [] : lastRunMetrics(last)),
  ];
}

function lastRunMetrics(run: RunRecord): Metric[] {
  const metrics = [
    gauge("last_run_images", "Images of the last run by outcome", labelled("outcome", { ...run.totals })),
    gauge("last_run_outcome", "How the last run ended", [[{ outcome: run.outcome }, 1]]),
  ];
  if (run.finishedAt === undefined) return metrics;
  const duration = seconds(run.finishedAt) - seconds(run.startedAt);
  return [
    gauge("run_duration_seconds", "How long the last run took", [[{}, duration]]),
    gauge("last_run_timestamp_seconds", "When the last run ended", [[{}, seconds(run.finishedAt)]]),
    ...metrics,
  ];
}

function sumMetrics({ sums }: StatusView): Metric[] {
  const requests = Object.entries(sums.requests).flatMap(([registry, counts]) =>
    Object.entries(counts).map(([status, count]): Sample => [{ registry, status }, count])
  );
  return [
    counter("runs_total", "Runs by outcome", labelled("outcome", sums.runs)),
    counter("images_total", "Images (a tag at one destination) by outcome", labelled("outcome", sums.images)),
    counter(
      "bytes_total",
      "Bytes of blobs sent, mounted or found there",
      labelled("kind", { ...sums.bytes }),
    ),
    counter("requests_total", "Requests by registry and status, 0 without an answer", requests),
    gauge("rate_limit_remaining", "Pulls a registry says are left", labelled("registry", sums.rateLimits)),
  ];
}

function ruleMetrics({ rules = [], ruleCounts }: StatusView): Metric[] {
  const success = rules.flatMap(({ source, lastSuccessAt }): Sample[] =>
    lastSuccessAt === undefined ? [] : [[{ rule: source }, seconds(lastSuccessAt)]]
  );
  const failing = rules.map(({ source, failureCount }): Sample => [{ rule: source }, failureCount]);
  const bytes = rules.map(({ source, bytes }): Sample => [{ rule: source }, bytes]);
  const pulls = rules.map(({ source, pulls }): Sample => [{ rule: source }, pulls]);
  return [
    gauge("rules", "Rules by state", labelled("state", ruleCounts)),
    gauge("last_success_timestamp_seconds", "When a run last left nothing of a rule to be copied", success),
    gauge("rule_failures", "Images of a rule that failed in the last run", failing),
    counter("rule_bytes_total", "Bytes sent for a rule", bytes),
    counter("rule_pulls_total", "Manifests pulled from a rule's source", pulls),
  ];
}

function gauge(name: string, help: string, samples: Sample[]): Metric {
  return { type: "gauge", name, help, samples };
}

function counter(name: string, help: string, samples: Sample[]): Metric {
  return { type: "counter", name, help, samples };
}

function labelled(label: string, counts: Record<string, number>): Sample[] {
  return Object.entries(counts).map(([key, count]) => [{ [label]: key }, count]);
}

function seconds(time: string): number {
  return Date.parse(time) / 1000;
}
