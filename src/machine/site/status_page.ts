/** The status page: made on the server from a view, whole without JavaScript, which only keeps it fresh. */

// hono's `html` escapes whatever is put into it, and the same package routes the requests: no dependencies, 8 ms to load,
// no permission, made for the edge. Alternatives that only escape (escape-html, html-entities) leave it to whoever writes
// the page not to forget it.
import { html, raw } from "hono/html";
import { formatClock, imagesFound, imagesToCopy, type Progress } from "../../mirror/progress.ts";
import { formatBytes } from "../../mirror/report.ts";
import { describeRun, drawRuns, type Html, OUTCOME_WORDS, secondsOf } from "./run_chart.ts";
import { renderRules } from "./rule_list.ts";
import { reportName } from "../service/report_shelf.ts";
import type { Outcome } from "../service/status.ts";
import { formatCount, formatSpan, formatTime, timeOf } from "./status_format.ts";
import { STYLE } from "./status_style.ts";
import type { StatusView } from "./status_view.ts";

/** Seconds after which the page asks for itself again where there is no JavaScript, while a run is on and else. */
const REFRESH = { live: 3, idle: 60 };

/** What the page lets its reader do, and what it was asked for. */
export interface PageOptions {
  /** Whether the reader has shown the token. */
  isOperator: boolean;
  /** Whether there is a token to show. */
  hasToken: boolean;
  /** Text that the names of the rules shown contain; all are shown without it. */
  filter?: string;
}

/** Renders the page. */
export async function renderPage(view: StatusView, options: PageOptions): Promise<string> {
  const refresh = view.isRunning ? REFRESH.live : REFRESH.idle;
  const rules = view.rules === undefined ? renderCounts(view, options) : renderRules(view.rules, {
    now: Date.parse(view.now),
    filter: options.filter ?? "",
    canRun: options.isOperator && !view.isRunning && view.refusal === undefined,
  });
  const content = html`${renderHeader(view, options)}
${renderNotices(view)}
${view.progress === undefined ? "" : renderProgress(view.progress)}
${renderFacts(view)}
${rules}
${renderRuns(view)}
${renderRegistries(view)}
<footer id="footer">image-syncer ${view.version} · as of ${formatTime(view.now)}</footer>`;
  return await renderShell(`${stateOf(view).words} – image-syncer`, content, refresh);
}

/** Renders the page that asks for the token; it never refreshes, for what is typed to stay. */
export async function renderSignIn(notice?: string): Promise<string> {
  const said = notice === undefined ? "" : html`<p class="failed" role="alert">${notice}</p>`;
  const content = html`
    <header>
      <h1>Image mirror</h1>
    </header>
    <section><h2>Sign in</h2><form method="post" action="/sign-in">
    <input type="password" name="token" aria-label="Token" placeholder="Token" autocomplete="current-password" required
    autofocus><button>Sign in</button></form>${said}</section>
  `;
  return await renderShell("Sign in – image-syncer", content);
}

async function renderShell(title: string, content: Html, refresh?: number): Promise<string> {
  const again = refresh === undefined
    ? ""
    : html`<noscript><meta http-equiv="refresh" content="${refresh}"></noscript>
<script src="/live.js" defer></script>`;
  const page = html`
    <!DOCTYPE html>
    <html lang="en">
      <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    ${again}<link rel="icon" href="data:,">
    <title>${title}</title>
    <style>${raw(STYLE)}</style>
      </head>
      <body>
        <main>
    ${content}
        </main>
      </body>
    </html>
  `;
  return String(await page);
}

/** What the mirror is in one word, and whose colour it has. */
function stateOf(view: StatusView): { outcome: Outcome | "unknown"; words: string } {
  const { last, ruleCounts, problem, isRunning } = view;
  if (isRunning) return { outcome: "running", words: "Running" };
  if (problem !== undefined) return { outcome: "failed", words: "Cannot run" };
  if (last === undefined) return { outcome: "unknown", words: "Not run yet" };
  if (ruleCounts.failing > 0 || ["failed", "error"].includes(last.outcome)) {
    return { outcome: "failed", words: "Failing" };
  }
  if (ruleCounts.empty > 0) {
    return { outcome: "stopped", words: `${formatCount(ruleCounts.empty, "rule")} without images` };
  }
  if (last.outcome === "done") return { outcome: "done", words: "Healthy" };
  return { outcome: "stopped", words: "Goes on with the next run" };
}

function renderHeader(view: StatusView, { isOperator }: PageOptions): Html {
  const { outcome, words } = stateOf(view);
  const button = !isOperator || view.refusal !== undefined
    ? ""
    : view.isRunning
    ? html`<form method="post" action="/stop"><button class="quiet">Stop this run</button></form>`
    : html`<form method="post" action="/run"><button>Run now</button></form>`;
  return html`
    <header
      id="head"><h1>Image mirror</h1><span class="state ${outcome}">${words}</span><span class="soft">${sinceOf(
        view,
      )}</span>${button}</header>
  `;
}

/** Since when it is as it is: the first of the runs that ended alike. */
function sinceOf({ runs, isRunning, now }: StatusView): Html | string {
  const ended = runs.filter(({ outcome }) => outcome !== "running");
  const last = ended.at(-1);
  if (isRunning || last === undefined) return "";
  const before = ended.findLastIndex(({ outcome }) => outcome !== last.outcome);
  const first = ended[before + 1] ?? last;
  return html`since ${timeOf(first.finishedAt ?? first.startedAt, Date.parse(now))}`;
}

function renderNotices({ refusal, problem }: StatusView): Html | string {
  if (refusal === undefined && problem === undefined) return "";
  const why = problem === undefined ? "" : html`<p class="failed reason" role="alert">${problem}</p>`;
  const off = refusal === undefined ? "" : html`<p>No runs here: ${refusal}</p>`;
  return html`<section id="notices">${off}${why}</section>`;
}

function renderProgress({ isPlanned, totals, read, rate, secondsLeft }: Progress): Html {
  const total = imagesToCopy(totals);
  const done = totals.copied + totals.failed;
  const found = imagesFound(totals);
  const bad = totals.failed + totals.rulesFailed;
  const bar = isPlanned && total > 0
    ? html`<progress max="${total}" value="${done}" aria-label="Images copied"></progress>`
    : html`<progress aria-label="Looking at sources"></progress>`;
  const looking = isPlanned
    ? ""
    : html`<span>looking at sources, ${formatCount(found, "image")} found so far</span>`;
  const copied = total === 0 && !isPlanned
    ? ""
    : html`<span>${totals.copied} of ${formatCount(total, "image")} copied</span>`;
  return html`<section id="progress" aria-label="The run that is on"><h2>Running</h2>${bar}
<p class="facts" role="status">${looking}${copied}${
    bad > 0 ? html`<span class="failed">${bad} failed</span>` : ""
  }<span>${totals.unchanged} unchanged</span><span>${formatBytes(read)} read</span><span>${
    formatBytes(Math.round(rate))
  }/s</span>${
    secondsLeft === undefined ? "" : html`<span>about ${formatClock(secondsLeft)} left</span>`
  }</p></section>`;
}

function renderFacts({ last, schedule, sums, now }: StatusView): Html {
  const time = Date.parse(now);
  const next = schedule === undefined
    ? html`not scheduled`
    : html`${timeOf(schedule.nextRunAt, time)}<small><code>${schedule.expression}</code> in UTC</small>`;
  const ended = last === undefined
    ? html`never`
    : html`${timeOf(last.finishedAt ?? last.startedAt, time)}<small class="${last.outcome}">${
      OUTCOME_WORDS[last.outcome]
    }, ${formatSpan(secondsOf(last))}</small>`;
  const totals = last === undefined
    ? html`–`
    : html`${String(last.totals.copied)} copied<small>${last.totals.unchanged} unchanged, ${
      last.totals.failed + last.totals.rulesFailed
    } failed${last.totals.drifted ? `, ${last.totals.drifted} drifted` : ""}</small>`;
  const sent = html`${formatBytes(last?.bytes.copied ?? 0)}<small>${
    formatBytes(sums.bytes.copied)
  } in all runs</small>`;
  const error = last?.error === undefined ? "" : html`<p class="failed reason">${last.error}</p>`;
  return html`<section id="facts" aria-label="The last run"><dl>
<div><dt>Last run</dt><dd>${ended}</dd></div>
<div><dt>Next run</dt><dd>${next}</dd></div>
<div><dt>Images</dt><dd>${totals}</dd></div>
<div><dt>Sent</dt><dd>${sent}</dd></div>
<div><dt>Pulls</dt><dd>${last?.pulls ?? 0}<small>manifests, last run</small></dd></div>
</dl>${error}</section>`;
}

function renderRuns({ runs, reports = [] }: StatusView): Html | string {
  if (runs.length === 0) return "";
  const lines = runs.slice(-10).reverse().map((run) => {
    const name = reportName(run.startedAt);
    const link = reports.includes(name)
      ? html`
        · <a href="/reports/${name}">report</a>
      `
      : "";
    return html`<li class="${run.outcome}">${describeRun(run)}${link}</li>`;
  });
  return html`<section id="runs"><h2>Last runs</h2>${drawRuns(runs)}
<details id="runs-in-words"><summary>In words</summary><ul>${lines}</ul></details></section>`;
}

function renderRegistries({ registries = [] }: StatusView): Html | string {
  if (registries.length === 0) return "";
  const rows = registries.toSorted((one, other) => other.requests - one.requests).map((one) =>
    html`
      <tr>
        <th scope="row"><code>${one.registry}</code></th>
        <td>${one.requests.toLocaleString("en-US")}</td>
        <td class="${one.failed > 0 ? "failed" : ""}">${one.failed}</td>
        <td class="${one.limited > 0 ? "stopped" : ""}">${one.limited}</td>
        <td>${one.pullsLeft ?? "–"}</td>
      </tr>
    `
  );
  return html`
    <section id="registries">
      <h2>Registries</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Registries">
        <table>
          <thead>
            <tr>
              <th scope="col">registry</th>
              <th scope="col">requests</th>
              <th scope="col">errors</th>
              <th scope="col">429</th>
              <th scope="col">pulls left</th>
            </tr>
          </thead>
          <tbody>${rows}</tbody>
        </table>
      </div>
    </section>
  `;
}

function renderCounts({ ruleCounts }: StatusView, { hasToken }: PageOptions): Html {
  const all = Object.values(ruleCounts).reduce((sum, count) => sum + count, 0);
  const { ok, failing, empty, running, pending, unknown } = ruleCounts;
  const counts = `${ok} complete, ${failing} failing, ${empty} selecting nothing, ${
    running + pending
  } under way, ${unknown} not run yet`;
  const more = hasToken
    ? html`<p>Names and reasons are shown to whoever has the token: <a href="/sign-in">sign in</a>.</p>`
    : html`<p>Names and reasons are shown, and runs can be started, once a token is set
(<code>IMAGE_SYNCER_TOKEN</code>).</p>`;
  return html`<section id="rules"><h2>${formatCount(all, "rule")}</h2><p>${counts}</p>${more}</section>`;
}
