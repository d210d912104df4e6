/** The status page: made on the server from a view, whole without JavaScript, and live by asking for itself again. */

// hono's `html` escapes whatever is put into it, and the same package routes the requests: no dependencies, 8 ms to load,
// no permission, made for the edge. Alternatives that only escape (escape-html, html-entities) leave it to whoever writes
// the page not to forget it.
import { html, raw } from "hono/html";
import { formatBytes } from "../../mirror/report.ts";
import { describeRun, drawRuns, type Html, OUTCOME_WORDS, secondsOf } from "./run_chart.ts";
import type { Outcome } from "../service/status.ts";
import { formatCount, formatDistance, formatSpan, formatTime } from "./status_format.ts";
import { STYLE } from "./status_style.ts";
import type { RuleView, StatusView } from "./status_view.ts";

/** Rules that are shown, those that need a look first. */
const RULES_SHOWN = 1000;
/** Seconds after which the page asks for itself again, while a run is on and else. */
const REFRESH = { live: 3, idle: 60 };

/** What the page lets its reader do. */
export interface PageOptions {
  /** Whether the reader has shown the token. */
  isOperator: boolean;
  /** Whether there is a token to show. */
  hasToken: boolean;
}

/** Renders the page. */
export async function renderPage(view: StatusView, options: PageOptions): Promise<string> {
  const refresh = view.isRunning ? REFRESH.live : REFRESH.idle;
  const rules = view.rules === undefined
    ? renderCounts(view, options)
    : renderRules(view.rules, Date.parse(view.now));
  const content = html`${renderHeader(view, options)}
${view.refusal === undefined ? "" : html`<section role="status">No runs here: ${view.refusal}</section>`}
${view.progress === undefined ? "" : renderProgress(view.progress)}
${renderFacts(view)}
${renderRuns(view)}
${rules}
<footer>image-syncer ${view.version} · as of ${formatTime(view.now)}</footer>`;
  return await renderShell(`${stateOf(view).words} – image-syncer`, content, refresh);
}

/** Renders the page that asks for the token; it never refreshes, for what is typed to stay. */
export async function renderSignIn(hasFailed: boolean): Promise<string> {
  const notice = hasFailed ? html`<p class="failed" role="alert">That is not the token.</p>` : "";
  const content = html`
    <header>
      <h1>Image mirror</h1>
    </header>
    <section><h2>Sign in</h2><form method="post" action="/sign-in">
    <input type="password" name="token" aria-label="Token" placeholder="Token" autocomplete="current-password" required
    autofocus><button>Sign in</button></form>${notice}</section>
  `;
  return await renderShell("Sign in – image-syncer", content);
}

async function renderShell(title: string, content: Html, refresh?: number): Promise<string> {
  const again = refresh === undefined ? "" : html`<meta http-equiv="refresh" content="${refresh}">`;
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
  if (view.isRunning) return { outcome: "running", words: "Running" };
  const { last, ruleCounts } = view;
  if (last === undefined) return { outcome: "unknown", words: "Not run yet" };
  if (ruleCounts.failing > 0 || ["failed", "error"].includes(last.outcome)) {
    return { outcome: "failed", words: "Failing" };
  }
  if (last.outcome === "done") return { outcome: "done", words: "Healthy" };
  return { outcome: "stopped", words: "Goes on with the next run" };
}

function renderHeader(view: StatusView, { isOperator }: PageOptions): Html {
  const { outcome, words } = stateOf(view);
  const isOff = view.isRunning || view.refusal !== undefined;
  const button = isOperator && !isOff
    ? html`<form method="post" action="/run"><button>Run now</button></form>`
    : "";
  return html`<header><h1>Image mirror</h1><span class="state ${outcome}">${words}</span>${button}</header>`;
}

function renderProgress({ images, done, failed, bytes }: NonNullable<StatusView["progress"]>): Html {
  const bad = failed > 0 ? html`, <span class="failed">${failed} failed</span>` : "";
  return html`
    <section aria-label="The run that is on">
      <h2>Running</h2>
      <progress max="${Math.max(1, images)}" value="${done + failed}"></progress>
      <p>${done} of ${formatCount(images, "image")} copied${bad}, ${formatBytes(bytes)} read</p>
    </section>
  `;
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
    } failed</small>`;
  const sent = html`${formatBytes(last?.bytes.copied ?? 0)}<small>${
    formatBytes(sums.bytes.copied)
  } in all runs</small>`;
  const error = last?.error === undefined ? "" : html`<p class="failed reason">${last.error}</p>`;
  return html`<section aria-label="The last run"><dl>
<div><dt>Last run</dt><dd>${ended}</dd></div>
<div><dt>Next run</dt><dd>${next}</dd></div>
<div><dt>Images</dt><dd>${totals}</dd></div>
<div><dt>Sent</dt><dd>${sent}</dd></div>
<div><dt>Pulls</dt><dd>${last?.pulls ?? 0}<small>manifests, last run</small></dd></div>
</dl>${error}</section>`;
}

function renderRuns({ runs }: StatusView): Html | string {
  if (runs.length === 0) return "";
  const lines = runs.slice(-10).reverse().map((run) =>
    html`<li class="${run.outcome}">${describeRun(run)}</li>`
  );
  return html`<section><h2>Last runs</h2>${drawRuns(runs)}
<details><summary>In words</summary><ul>${lines}</ul></details></section>`;
}

function renderCounts({ ruleCounts }: StatusView, { hasToken }: PageOptions): Html {
  const all = Object.values(ruleCounts).reduce((sum, count) => sum + count, 0);
  const { ok, failing, pending, unknown } = ruleCounts;
  const counts = `${ok} complete, ${failing} failing, ${pending} under way, ${unknown} not run yet`;
  const more = hasToken
    ? html`<p>Names and reasons are shown to whoever has the token: <a href="/sign-in">sign in</a>.</p>`
    : html`<p>Names and reasons are shown, and runs can be started, once a token is set
(<code>IMAGE_SYNCER_TOKEN</code>).</p>`;
  return html`<section><h2>${formatCount(all, "rule")}</h2><p>${counts}</p>${more}</section>`;
}

const ORDER: RuleView["state"][] = ["failing", "pending", "unknown", "ok"];
const STATE_WORDS: Record<RuleView["state"], string> = {
  ok: "complete",
  failing: "failing",
  pending: "under way",
  unknown: "not run yet",
};

function renderRules(rules: readonly RuleView[], now: number): Html {
  const sorted = rules.toSorted((one, other) => ORDER.indexOf(one.state) - ORDER.indexOf(other.state));
  const more = rules.length > RULES_SHOWN
    ? html`<p class="soft">and ${rules.length - RULES_SHOWN} more, see /status</p>`
    : "";
  return html`<section><h2>${formatCount(rules.length, "rule")}</h2>${
    sorted.slice(0, RULES_SHOWN).map((rule) => renderRule(rule, now))
  }${more}</section>`;
}

function renderRule(rule: RuleView, now: number): Html {
  const success = rule.lastSuccessAt === undefined ? "never" : timeOf(rule.lastSuccessAt, now);
  const change = rule.lastChangeAt === undefined
    ? ""
    : html`<span>changed ${timeOf(rule.lastChangeAt, now)}</span>`;
  const pending = rule.pending === 0 ? "" : html`<span>${rule.pending} not reached yet</span>`;
  return html`<article><div class="rule"><code>${rule.source}</code><span class="${rule.state}">${
    STATE_WORDS[rule.state]
  }</span></div>
<div class="facts"><span>to ${rule.destinations.join(", ")}</span></div>
<div class="facts"><span>last success ${success}</span>${change}${pending}<span>${
    formatCount(rule.images, "image")
  }</span><span>${formatBytes(rule.bytes)} sent</span><span>${formatCount(rule.pulls, "pull")}</span></div>
${renderFailures(rule)}${renderChanges(rule)}</article>`;
}

function renderFailures({ failures, failureCount }: RuleView): Html | string {
  if (failureCount === 0) return "";
  const more = failureCount > failures.length
    ? html`<li>and ${failureCount - failures.length} more</li>`
    : "";
  return html`<ul class="failed">${
    failures.map(({ reference, error }) => html`<li><code>${reference}</code>: ${error}</li>`)
  }${more}</ul>`;
}

function renderChanges({ changed, changedCount }: RuleView): Html | string {
  if (changedCount === 0) return "";
  const more = changedCount > changed.length ? html`<li>and ${changedCount - changed.length} more</li>` : "";
  return html`
    <details>
      <summary>${formatCount(changedCount, "image")} copied last</summary>
      <ul>${changed.map((reference) => html`<li><code>${reference}</code></li>`)}${more}</ul>
    </details>
  `;
}

function timeOf(time: string, now: number): Html {
  return html`<time datetime="${time}" title="${formatTime(time)}">${
    formatDistance(Date.parse(time), now)
  }</time>`;
}
