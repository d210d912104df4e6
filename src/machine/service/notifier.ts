/** Notices to webhooks: told once when a rule begins to fail, once when it is well again, and never in the way of a mirror. */

import { createHmac } from "node:crypto";
import type { NoticeTarget } from "../../mirror/config/notice_target.ts";
import type { Store } from "../../mirror/store/store.ts";
import type { Log } from "../terminal/log.ts";
import type { RuleRecord, RunRecord } from "./status.ts";

/** Milliseconds that a target may take to answer. */
const TIME_LIMIT = 10_000;
/** Rules that a sentence names. */
const NAMED = 10;
/** What a run that could not begin counts as, beside the rules. */
const WHOLE_RUN = "";

/** What a target is told: the fields that its template may name. */
export interface Notice {
  /** What has happened. */
  event: NoticeTarget["on"][number];
  /** Sources of the rules it has happened to, with commas between; empty when it is the whole run. */
  rules: string;
  /** How many these are. */
  count: number;
  /** The first reason, in the registry's words. */
  error: string;
  /** When the run began. */
  run: string;
  /** All of it in a sentence. */
  text: string;
}

/** Options of {@linkcode Notifier}. */
export interface NotifierOptions {
  /** Remembers what each target was told. */
  store: Store;
  /** Says when a target cannot be told. */
  log?: Log | undefined;
  /** Posts; `globalThis.fetch` unless told. */
  fetch?: typeof fetch | undefined;
  /** Milliseconds since 1970; `Date.now` unless told. */
  now?: (() => number) | undefined;
}

/** How a rule is, as far as a run has found out. */
type Health = { rule: string; isWell: boolean; error: string };

/** Tells targets what has changed since they were last told. */
export class Notifier {
  #options: NotifierOptions;

  /** Nothing is sent before {@linkcode tell}. */
  constructor(options: NotifierOptions) {
    this.#options = options;
  }

  /** Tells each target what a run has changed. A target that does not take it is told by the next run. */
  async tell(targets: readonly NoticeTarget[], run: RunRecord, rules: readonly RuleRecord[]): Promise<void> {
    const health = healthOf(run, rules);
    await Promise.all(targets.map((target) => this.#tellOne(target, run, health)));
  }

  async #tellOne(target: NoticeTarget, run: RunRecord, health: readonly Health[]): Promise<void> {
    try {
      const changed: Health[] = [];
      for (const one of health) {
        const wasWell = await this.#options.store.get(keyOf(target, one.rule)) === undefined;
        if (wasWell !== one.isWell) changed.push(one);
      }
      for (const isWell of [false, true]) {
        const some = changed.filter((one) => one.isWell === isWell);
        if (some.length > 0) await this.#send(target, run, some);
      }
    } catch (error) {
      // Whatever has the URL in it stays out of the log: it is often all that keeps others from posting there.
      const why = error instanceof NoticeError ? error.message : "it cannot be reached";
      this.#options.log?.write("error", `Cannot notify "${target.name}": ${why}`);
    }
  }

  async #send(target: NoticeTarget, run: RunRecord, changed: readonly Health[]): Promise<void> {
    const notice = noticeOf(run, changed);
    if (target.on.includes(notice.event)) await this.#post(target, notice);
    for (const { rule, isWell } of changed) {
      const key = keyOf(target, rule);
      if (isWell) await this.#options.store.delete(key);
      else await this.#options.store.set(key, run.startedAt);
    }
  }

  async #post({ url, template, secret }: NoticeTarget, notice: Notice): Promise<void> {
    const { fetch = globalThis.fetch, now = Date.now } = this.#options;
    const body = JSON.stringify(template === undefined ? notice : fillTemplate(template, notice));
    const headers: Record<string, string> = { "content-type": "application/json" };
    if (secret !== undefined) {
      const time = Math.floor(now() / 1000);
      headers["x-image-syncer-signature"] = `t=${time},v1=${sign(`${time}.${body}`, secret)}`;
    }
    const signal = AbortSignal.timeout(TIME_LIMIT);
    // A redirect would take the body, and its signature, to a place that nobody has named.
    const answer = await fetch(url, { method: "POST", body, headers, redirect: "manual", signal });
    await answer.body?.cancel();
    if (!answer.ok) throw new NoticeError(`it answers ${answer.status}`);
  }
}

/** A target has not taken a notice. */
class NoticeError extends Error {
  override name = "NoticeError";
}

function sign(text: string, secret: string): string {
  return createHmac("sha256", secret).update(text).digest("hex");
}

function keyOf({ name }: NoticeTarget, rule: string): string[] {
  return ["status", "notified", name, rule];
}

/** A rule that the run has not got through says nothing new. */
function healthOf(run: RunRecord, rules: readonly RuleRecord[]): Health[] {
  const known = rules.filter(({ failureCount, pending }) => failureCount > 0 || pending === 0);
  const each = known.map(({ source, failureCount, failures }) => ({
    rule: source,
    isWell: failureCount === 0,
    error: failures[0]?.error ?? "",
  }));
  if (run.outcome === "stopped") return each.filter(({ isWell }) => !isWell);
  return [...each, { rule: WHOLE_RUN, isWell: run.outcome !== "error", error: run.error ?? "" }];
}

function noticeOf({ startedAt }: RunRecord, changed: readonly Health[]): Notice {
  const event = changed[0]?.isWell ? "recovery" : "failure";
  const sources = changed.map(({ rule }) => rule).filter((rule) => rule !== WHOLE_RUN);
  const more = sources.length > NAMED ? ` and ${sources.length - NAMED} more` : "";
  const rules = sources.slice(0, NAMED).join(", ") + more;
  const error = changed.find((one) => one.error !== "")?.error ?? "";
  const what = rules === "" ? "the mirror" : rules;
  const text = event === "recovery"
    ? `Well again: ${what}`
    : `Failing: ${what}${error === "" ? "" : ` (${error})`}`;
  return { event, rules, count: sources.length, error, run: startedAt, text };
}

/** Puts the fields of a notice into the strings of a template. It stays JSON, whatever is in the fields. */
export function fillTemplate(template: unknown, notice: Notice): unknown {
  if (typeof template === "string") {
    return template.replace(
      /\{\{(\w+)\}\}/g,
      (all, name: string) => Object.hasOwn(notice, name) ? String(notice[name as keyof Notice]) : all,
    );
  }
  if (Array.isArray(template)) return template.map((one) => fillTemplate(one, notice));
  if (typeof template !== "object" || template === null) return template;
  return Object.fromEntries(
    Object.entries(template).map(([key, value]) => [key, fillTemplate(value, notice)]),
  );
}
