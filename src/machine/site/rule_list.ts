/** The rules on the status page: those that need a person first, those that are well folded away, each with its last runs. */

import { html } from "hono/html";
import { formatBytes } from "../../mirror/report.ts";
import { BEATS } from "../service/status.ts";
import type { Html } from "./run_chart.ts";
import { formatCount, timeOf } from "./status_format.ts";
import type { RuleState, RuleView } from "./status_view.ts";

/** Rules that are shown of each group; the rest is in `/status`. */
const RULES_SHOWN = 500;
/** Rules of a group that stay unfolded, where the group is one that wants nothing of anybody. */
const UNFOLDED = 8;
/** Rules of a mirror, at most, that all show everything there is. */
const FEW = 3;
/** Failures of a rule that are shown without unfolding it. */
const FAILURES_SHOWN = 2;

/** Groups in the order in which they want to be seen. */
const GROUPS: [state: RuleState, words: string][] = [
  ["failing", "failing"],
  ["empty", "selecting nothing"],
  ["running", "being copied"],
  ["pending", "left to the next run"],
  ["unknown", "not run yet"],
  ["ok", "complete"],
];

const BEAT_WORDS: Record<string, string> = {
  [BEATS.copied]: "complete, something copied",
  [BEATS.unchanged]: "complete",
  [BEATS.failed]: "failed",
  [BEATS.pending]: "not reached",
  [BEATS.empty]: "selected nothing",
};

/** What a list of rules is made with. */
export interface RuleListOptions {
  /** Milliseconds since 1970. */
  now: number;
  /** Whether the reader may run a rule now. */
  canRun: boolean;
  /** Text that sources or destinations of the rules shown contain, in capitals or not; empty for all. */
  filter: string;
}

/** Renders the rules. */
export function renderRules(rules: readonly RuleView[], { now, filter, canRun }: RuleListOptions): Html {
  const wanted = filter.trim().toLowerCase();
  const isWanted = ({ source, destinations }: RuleView) =>
    [source, ...destinations].some((name) => name.toLowerCase().includes(wanted));
  const shown = rules.filter(isWanted);
  const groups = GROUPS.map(([state, words]) =>
    renderGroup(shown.filter((rule) => rule.state === state), {
      state,
      words,
      now,
      isOpen: wanted !== "",
      hasAll: rules.length <= FEW,
      canRun,
    })
  );
  const count = wanted === ""
    ? formatCount(rules.length, "rule")
    : `${shown.length} of ${formatCount(rules.length, "rule")}`;
  return html`<section id="rules"><div class="title"><h2>${count}</h2>${
    renderFilter(filter, rules.length)
  }</div>
${groups}</section>`;
}

/** A form, so that it works without JavaScript and can be bookmarked. */
function renderFilter(filter: string, count: number): Html | string {
  if (count <= UNFOLDED && filter === "") return "";
  const all = filter === "" ? "" : html`<a href="/">show all</a>`;
  return html`<form method="get" action="/" role="search"><input type="search" name="filter" value="${filter}"
aria-label="Show rules whose source or destination contains" placeholder="part of a name"><button class="quiet">Filter</button>${all}</form>`;
}

interface GroupOptions {
  state: RuleState;
  words: string;
  now: number;
  isOpen: boolean;
  hasAll: boolean;
  canRun: boolean;
}

function renderGroup(
  rules: readonly RuleView[],
  { state, words, now, isOpen, hasAll, canRun }: GroupOptions,
): Html | string {
  if (rules.length === 0) return "";
  const rest = rules.length - RULES_SHOWN;
  const list = html`${rules.slice(0, RULES_SHOWN).map((rule) => renderRule(rule, { now, hasAll, canRun }))}${
    rest > 0 ? html`<p class="soft">and ${rest} more, see <a href="/status">/status</a></p>` : ""
  }`;
  const title = html`<span class="${state}">●</span> ${rules.length.toLocaleString("en-US")} ${words}`;
  const stays = isOpen || state === "failing" || state === "empty" || state === "running" ||
    rules.length <= UNFOLDED;
  if (stays) return html`<h3>${title}</h3>${list}`;
  return html`<details class="group" id="group-${state}"><summary>${title}</summary>${list}</details>`;
}

function renderRule(
  rule: RuleView,
  { now, hasAll, canRun }: Pick<GroupOptions, "now" | "hasAll" | "canRun">,
): Html {
  const words = rule.state === "failing" ? "last complete" : "complete";
  const success = rule.lastSuccessAt === undefined
    ? "never complete"
    : html`${words} ${timeOf(rule.lastSuccessAt, now)}`;
  return html`<article><details id="rule-${rule.source}"${
    hasAll ? " open" : ""
  }><summary><code>${rule.source}</code>${renderHistory(rule.history ?? "")}<span class="when">${
    rule.live === undefined ? success : describeLive(rule)
  }</span></summary>
<div class="facts"><span>to ${rule.destinations.join(", ")}</span></div>
<div class="facts"><span>${success}</span>${
    rule.lastChangeAt === undefined ? "" : html`<span>changed ${timeOf(rule.lastChangeAt, now)}</span>`
  }${rule.pending === 0 ? "" : html`<span>${rule.pending} not reached yet</span>`}${
    rule.drifted ? html`<span>${rule.drifted} drifted</span>` : ""
  }<span>${formatCount(rule.images, "image")}</span><span>${formatBytes(rule.bytes)} sent</span><span>${
    formatCount(rule.pulls, "pull")
  }</span></div>
${renderFailures(rule, FAILURES_SHOWN)}${renderChanges(rule)}${canRun ? renderRun(rule) : ""}</details>${
    renderFailures(rule, 0, FAILURES_SHOWN)
  }</article>`;
}

function renderRun({ source }: RuleView): Html {
  const action = `/run?${new URLSearchParams({ rule: source })}`;
  return html`<form method="post" action="${action}"><button class="quiet small">Run this rule</button></form>`;
}

function describeLive({ live }: RuleView): string {
  if (live === undefined) return "";
  const { copied, unchanged, skipped, failed, pending, drifted = 0 } = live;
  const total = copied + unchanged + skipped + failed + pending + drifted;
  return `${total - pending} of ${formatCount(total, "image")}${failed > 0 ? `, ${failed} failed` : ""}`;
}

/** A mark for each of the last runs, newest on the right. Marks that are alike are drawn as one: most rules have nothing else. */
function renderHistory(history: string): Html | string {
  if (history === "") return html`<span class="beats"></span>`;
  const failed = history.split(BEATS.failed).length - 1;
  const label = `The last ${formatCount(history.length, "run")}: ${failed} failed`;
  const marks = [...history.matchAll(/(.)\1*/g)].map(([alike, letter]) =>
    html`<i class="beat-${letter}" style="--n:${alike.length}" title="${BEAT_WORDS[letter ?? ""] ?? ""}"></i>`
  );
  return html`<span class="beats" role="img" aria-label="${label}">${marks}</span>`;
}

function renderFailures({ failures, failureCount }: RuleView, from: number, to = Infinity): Html | string {
  const some = failures.slice(from, to);
  const isLast = to >= failures.length;
  const rest = failureCount - failures.length;
  const more = rest > 0 && isLast && some.length > 0 ? html`<li>and ${rest} more</li>` : "";
  if (some.length === 0) return "";
  return html`<ul class="failed">${
    some.map(({ reference, error }) => html`<li><code>${reference}</code>: ${error}</li>`)
  }${more}</ul>`;
}

function renderChanges({ changed, changedCount }: RuleView): Html | string {
  if (changedCount === 0) return "";
  const more = changedCount > changed.length ? html`<li>and ${changedCount - changed.length} more</li>` : "";
  return html`
    <p class="soft">${formatCount(changedCount, "image")} copied last</p>
    <ul>${changed.map((reference) => html`<li><code>${reference}</code></li>`)}${more}</ul>
  `;
}
