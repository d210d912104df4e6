/** The picture of the last runs: a bar each, as high as the run took long, in the colour of how it ended, with its axes. */

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
  const slots = Math.max(SLOTS.least, shown.length);
  const longest = Math.max(1, ...shown.map(secondsOf));
  const bars = shown.map((run, index) => {
    const x = WIDTH - (shown.length - index) * WIDTH / slots;
    return drawBar(run, { x, width: WIDTH / slots - 2, share: secondsOf(run) / longest });
  });
  // Text in the picture would be stretched with it, so it stands beside.
  return html`
    <figure class="chart">
      <div class="scale" aria-hidden="true"><span>${formatSpan(longest)}</span><span>${formatSpan(
        longest / 4,
      )}</span><span>0 s</span></div>
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${summarize(
        shown,
      )}">
    ${[0.5, HEIGHT / 2, HEIGHT - 0.5].map((y) =>
      html`
        <line x1="0" x2="${WIDTH}" y1="${y}" y2="${y}" />
      `
    )}${bars}</svg>
      <div class="times" aria-hidden="true">${timesOf(shown, slots)}</div>
      <figcaption>${legendOf(shown)}</figcaption>
    </figure>
  `;
}

function drawBar(run: RunRecord, { x, width, share }: { x: number; width: number; share: number }): Html {
  // A square root, so that a first run of an hour leaves something to see of the runs of a minute that follow: the line in
  // the middle stands for a quarter.
  const height = Math.max(3, HEIGHT * Math.sqrt(share));
  const numbers = [x + 1, HEIGHT - height, width, height].map((one) => one.toFixed(1));
  return html`
    <rect class="${run
      .outcome}" x="${numbers[0]}" y="${numbers[1]}" width="${numbers[2]}" height="${numbers[3]}">
      <title>${describeRun(run)}</title>
    </rect>
  `;
}

/** When the first, the middle and the last run that are shown began. */
function timesOf(runs: readonly RunRecord[], slots: number): Html[] {
  const ends = new Set([0, Math.floor((runs.length - 1) / 2), runs.length - 1]);
  return [...ends].map((index) => {
    const left = (slots - runs.length + index + 0.5) * 100 / slots;
    const edge = left > 85 ? "end" : left < 15 ? "start" : "middle";
    const text = formatTime(runs[index]?.startedAt ?? "").slice(5, 16);
    return html`<time class="${edge}" style="left:${left.toFixed(1)}%">${text}</time>`;
  });
}

function legendOf(runs: readonly RunRecord[]): Html[] {
  const counts = Map.groupBy(runs, ({ outcome }) => outcome);
  return [...counts].map(([outcome, some]) =>
    html`<span><b class="${outcome}" aria-hidden="true">■</b> ${some.length} ${OUTCOME_WORDS[outcome]}</span>`
  );
}

/** One run in a line. */
export function describeRun(run: RunRecord): string {
  const { totals, bytes } = run;
  const counts = [
    `${totals.copied} copied`,
    `${totals.unchanged} unchanged`,
    `${totals.failed + totals.rulesFailed} failed`,
    ...(totals.pending > 0 ? [`${totals.pending} left`] : []),
    ...(totals.drifted ? [`${totals.drifted} drifted`] : []),
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
