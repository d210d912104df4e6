/** The web site of a scheduled mirror: the status page, the same as JSON and as metrics, health, and a run on demand. */

import { type Context, Hono, type MiddlewareHandler } from "hono";
import { getCookie, setCookie } from "hono/cookie";
import { messageOf } from "../../mirror/plan/failure.ts";
import { type Clock, systemClock } from "../../registry/clock.ts";
import { BriefCache } from "./brief_cache.ts";
import { formatMetrics, METRICS_TYPE } from "./metrics.ts";
import { OperatorToken, SESSION_SECONDS } from "./operator_token.ts";
import type { Schedule } from "../service/schedule.ts";
import type { ReportShelf } from "../service/report_shelf.ts";
import type { MirrorService } from "../service/service.ts";
import { LIVE_SCRIPT } from "./live_script.ts";
import { GuessBrake, isSecure, limitBody, readForm, requireSameOrigin, tooLarge } from "./site_guard.ts";
import { renderPage, renderSignIn } from "./status_page.ts";
import { streamChanges, streamRun } from "./status_stream.ts";
import { hideNames, type StatusView, viewStatus } from "./status_view.ts";

/** Options of {@linkcode createStatusSite}. */
export interface StatusSiteOptions {
  /** What runs the mirror. */
  service: MirrorService;
  /** When it runs by itself. */
  schedule?: Schedule | undefined;
  /** What lets see names and start runs; without it nobody may. */
  token?: string | undefined;
  /** The reports of the last runs; none are given out without it. */
  shelf?: ReportShelf | undefined;
  /** Rejects when the site is not fit to serve. */
  checkHealth?: () => Promise<void>;
  /** Milliseconds since 1970; `Date.now` unless told. */
  now?: () => number;
  /** What makes whoever guesses the token wait. */
  clock?: Clock;
}

/** Who asks: an operator, anybody, or somebody with a token that is wrong. */
type Visitor = "operator" | "anybody" | "impostor";

const COOKIE = "image-syncer-session";

/** A site that answers requests; it needs no socket. */
export function createStatusSite(options: StatusSiteOptions): (request: Request) => Promise<Response> {
  const site = new StatusSite(options);
  const app = new Hono();
  app.use(async (context, next) => {
    await next();
    for (const [name, value] of Object.entries(HEADERS)) context.header(name, value);
  });
  app.use(site.brake);
  app.post("*", requireSameOrigin(), limitBody());
  app.get("/", (context) => site.page(context));
  app.get("/status", (context) => site.json(context));
  app.get("/metrics", (context) => site.metrics(context));
  app.get("/reports/:name", (context) => site.report(context));
  app.get("/healthz", (context) => site.health(context));
  app.get("/events", (context) => site.events(context));
  app.get("/live.js", (context) => context.body(LIVE_SCRIPT, 200, { "content-type": "text/javascript" }));
  app.get("/sign-in", async (context) => context.html(await renderSignIn()));
  app.post("/sign-in", (context) => site.signIn(context));
  app.post("/run", (context) => site.run(context));
  app.post("/stop", (context) => site.stop(context));
  app.onError((error, context) => context.json({ error: messageOf(error) }, 500));
  return async (request) => await app.fetch(request);
}

/** Nothing but the page's own style and script is ever loaded, and nothing of it is kept by anybody. */
const HEADERS = {
  "cache-control": "no-store",
  "content-security-policy":
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  // Not "no-referrer": browsers would then say "Origin: null" of the page's own forms.
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
};

class StatusSite {
  #options: StatusSiteOptions;
  #token: OperatorToken;
  #now: () => number;
  #cache: BriefCache;
  #brake: GuessBrake;

  constructor(options: StatusSiteOptions) {
    this.#options = options;
    this.#token = new OperatorToken(options.token);
    this.#now = options.now ?? Date.now;
    this.#cache = new BriefCache(this.#now);
    this.#brake = new GuessBrake(options.clock ?? systemClock);
  }

  /** Whoever shows a wrong token waits for the answer, wherever it is shown. */
  brake: MiddlewareHandler = async (context, next) => {
    const { path, method } = context.req;
    const isOpen = ["/healthz", "/live.js"].includes(path) || path === "/run" && !this.#token.isSet;
    const isGuess = context.req.header("authorization") !== undefined || method === "POST";
    if (isOpen || !isGuess) return await next();
    if (this.#brake.isFull) {
      const error = "Cannot check another token now: too many were wrong";
      return context.json({ error }, 429, { "retry-after": "10" });
    }
    if (this.#visitor(context) !== "impostor") return await next();
    await this.#brake.hold();
    return unauthorized(context);
  };

  async page(context: Context): Promise<Response> {
    const visitor = this.#visitor(context);
    const options = { isOperator: visitor === "operator", hasToken: this.#token.isSet };
    const filter = (context.req.query("filter") ?? "").slice(0, 200);
    const make = async () => renderPage(await this.#view(visitor), { ...options, filter });
    return context.html(await this.#cache.get(`page ${visitor} ${filter}`, make));
  }

  async json(context: Context): Promise<Response> {
    return context.json(await this.#view(this.#visitor(context)));
  }

  async metrics(context: Context): Promise<Response> {
    const visitor = this.#visitor(context);
    const make = async () => formatMetrics(await this.#view(visitor));
    const text = await this.#cache.get(`metrics ${visitor}`, make);
    return context.body(text, 200, { "content-type": METRICS_TYPE });
  }

  async health(context: Context): Promise<Response> {
    try {
      await this.#cache.get("health", this.#options.checkHealth ?? (() => Promise.resolve()));
      return context.text("ok\n");
    } catch {
      // Why is for the log and for operators; anybody may ask for this.
      return context.text("the database does not answer\n", 503);
    }
  }

  async report(context: Context): Promise<Response> {
    if (this.#visitor(context) !== "operator") return unauthorized(context);
    const text = await this.#options.shelf?.read(context.req.param("name") ?? "");
    if (text === undefined) {
      return context.json({ error: "Cannot find this report: it is not kept any more" }, 404);
    }
    return context.body(text, 200, { "content-type": "application/json" });
  }

  events(context: Context): Response {
    const lines = streamChanges(this.#options.service);
    if (lines === undefined) return context.text("too many watch already\n", 503);
    return context.body(lines.pipeThrough(new TextEncoderStream()), 200, {
      "content-type": "text/event-stream",
    });
  }

  async signIn(context: Context): Promise<Response> {
    const form = await readForm(context);
    if (form === undefined) return tooLarge(context);
    if (!this.#token.matches(form.get("token") ?? "")) {
      await this.#brake.hold();
      return context.html(await renderSignIn("That is not the token."), 401);
    }
    setCookie(context, COOKIE, this.#token.openSession(this.#now()), {
      httpOnly: true,
      maxAge: SESSION_SECONDS,
      path: "/",
      // Strict, so that no other site can start a run in an operator's name.
      sameSite: "Strict",
      secure: isSecure(context),
    });
    return context.redirect("/", 303);
  }

  async run(context: Context): Promise<Response> {
    if (!this.#token.isSet) {
      return context.json({ error: "Cannot run on demand: no token is set (IMAGE_SYNCER_TOKEN)" }, 403);
    }
    if (this.#visitor(context) !== "operator") return unauthorized(context);
    const { service } = this.#options;
    const start = await service.begin("request", context.req.query("rule"));
    this.#cache.clear();
    if (isForm(context)) return context.redirect("/", 303);
    if (start.type === "refused") return context.json({ error: `Cannot run now: ${start.why}` }, 409);
    const lines = streamRun(service, start.end).pipeThrough(new TextEncoderStream());
    return context.body(lines, 200, { "content-type": "application/x-ndjson" });
  }

  stop(context: Context): Response {
    if (this.#visitor(context) !== "operator") return unauthorized(context);
    const isStopping = this.#options.service.stopRun();
    this.#cache.clear();
    if (isForm(context)) return context.redirect("/", 303);
    return isStopping
      ? context.json({ type: "stopping" })
      : context.json({ error: "Cannot stop: no run is on" }, 409);
  }

  #visitor(context: Context): Visitor {
    const header = context.req.header("authorization");
    if (header !== undefined) {
      const [, token = ""] = /^Bearer +(\S+)\s*$/i.exec(header) ?? [];
      return this.#token.matches(token) ? "operator" : "impostor";
    }
    return this.#token.isSession(getCookie(context, COOKIE) ?? "", this.#now()) ? "operator" : "anybody";
  }

  async #view(visitor: Visitor): Promise<StatusView> {
    const view = await this.#cache.get("view", () => this.#readView());
    return visitor === "operator" ? view : hideNames(view);
  }

  async #readView(): Promise<StatusView> {
    const { service, schedule, shelf } = this.#options;
    const { config, progress, ruleProgress, refusal, problem } = service;
    const memory = await service.memory.read();
    const reports = await shelf?.names();
    const live = { progress, ruleProgress, refusal, problem };
    return viewStatus({ memory, config, schedule, now: this.#now(), reports, ...live });
  }
}

function isForm({ req }: Context): boolean {
  return req.header("content-type")?.startsWith("application/x-www-form-urlencoded") ?? false;
}

function unauthorized(context: Context): Response {
  return context.json({ error: "Cannot show this: the token is missing or wrong" }, 401, {
    "www-authenticate": 'Bearer realm="image-syncer"',
  });
}
