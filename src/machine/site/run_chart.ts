/** The picture of the last runs: a bar each, as high as the run took long, in the colour of how it ended. */

import { html } from "hono/html";
import { formatBytes } from "../../mirror/report.ts";
import { formatCount, formatSpan, formatTime } from "./status_format.ts";
import type { Outcome, RunRecord } from "../service/status.ts";

/** What `html` makes: text that is safe to put into a page. */
export type Html = ReturnType<typeof html>;

const WIDTH = 600;
const HEIGHT = 72;
/** Bars there is room for, at least and at most. */
const SLOTS = { least: 24, most: 60 };

/** How an outcome is called on the page. */
export const OUTCOME_WORDS: Record<Outcome, string> = {
  running: "running",
  done: "complete",
  failed: "with failures",
  stopped: "stopped, goes on next time",
  error: "could not begin",
  killed: "killed",
};

/** Draws the last runs. */
export function drawRuns(runs: readonly RunRecord[]): Html {
  const shown = runs.slice(-SLOTS.most);
  const slot = WIDTH / Math.max(SLOTS.least, shown.length);
  const longest = Math.max(1, ...shown.map(secondsOf));
  const bars = shown.map((run, index) => {
    // A square root, so that a first run of an hour leaves something to see of the runs of a minute that follow.
    const height = 6 + (HEIGHT - 6) * Math.sqrt(secondsOf(run) / longest);
    const x = WIDTH - (shown.length - index) * slot;
    return html`
      <rect class="${run.outcome}" x="${(x + 1).toFixed(1)}" y="${(HEIGHT - height).toFixed(
        1,
      )}" width="${slot -
        2}" height="${height.toFixed(1)}" rx="2">
        <title>${describeRun(run)}</title>
      </rect>
    `;
  });
  return html`
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img"
      aria-label="${summarize(shown)}">${bars}</svg>
  `;
}

/** One run in a line. */
export function describeRun(run: RunRecord): string {
  const { totals, bytes } = run;
  const counts = [
    `${totals.copied} copied`,
    `${totals.unchanged} unchanged`,
    `${totals.failed + totals.rulesFailed} failed`,
    ...(totals.pending > 0 ? [`${totals.pending} left`] : []),
  ];
  const words = `${formatTime(run.startedAt)}: ${OUTCOME_WORDS[run.outcome]} in ${
    formatSpan(secondsOf(run))
  }`;
  return `${words}, ${counts.join(", ")}, ${formatBytes(bytes.copied)} sent`;
}

function summarize(runs: readonly RunRecord[]): string {
  const complete = runs.filter(({ outcome }) => outcome === "done").length;
  return `The last ${formatCount(runs.length, "run")}, ${complete} of them complete`;
}

/** Seconds that a run took, 0 when it has not ended. */
export function secondsOf({ startedAt, finishedAt }: RunRecord): number {
  return finishedAt === undefined ? 0 : (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000;
}
