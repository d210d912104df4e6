/** The web site of a scheduled mirror: the status page, the same as JSON and as metrics, health, and a run on demand. */

import { type Context, Hono } from "hono";
import { getCookie, setCookie } from "hono/cookie";
import { messageOf } from "../../mirror/plan/failure.ts";
import { BriefCache } from "./brief_cache.ts";
import { formatMetrics, METRICS_TYPE } from "./metrics.ts";
import { OperatorToken, SESSION_SECONDS } from "./operator_token.ts";
import type { Schedule } from "../service/schedule.ts";
import type { MirrorService } from "../service/service.ts";
import type { RunRecord } from "../service/status.ts";
import { renderPage, renderSignIn } from "./status_page.ts";
import { hideNames, type StatusView, viewStatus } from "./status_view.ts";

/** Options of {@linkcode createStatusSite}. */
export interface StatusSiteOptions {
  /** What runs the mirror. */
  service: MirrorService;
  /** When it runs by itself. */
  schedule?: Schedule | undefined;
  /** What lets see names and start runs; without it nobody may. */
  token?: string | undefined;
  /** Rejects when the site is not fit to serve. */
  checkHealth?: () => Promise<void>;
  /** Milliseconds since 1970; `Date.now` unless told. */
  now?: () => number;
}

/** Who asks: an operator, anybody, or somebody with a token that is wrong. */
type Visitor = "operator" | "anybody" | "impostor";

const COOKIE = "image-syncer-session";
/** Milliseconds between two lines of a run that was asked for. */
const LINE_INTERVAL = 1000;

/** A site that answers requests; it needs no socket. */
export function createStatusSite(options: StatusSiteOptions): (request: Request) => Promise<Response> {
  const site = new StatusSite(options);
  const app = new Hono();
  app.use(async (context, next) => {
    await next();
    for (const [name, value] of Object.entries(HEADERS)) context.header(name, value);
  });
  app.get("/", (context) => site.page(context));
  app.get("/status", (context) => site.json(context));
  app.get("/metrics", (context) => site.metrics(context));
  app.get("/healthz", (context) => site.health(context));
  app.get("/sign-in", async (context) => context.html(await renderSignIn(false)));
  app.post("/sign-in", (context) => site.signIn(context));
  app.post("/run", (context) => site.run(context));
  app.onError((error, context) => context.json({ error: messageOf(error) }, 500));
  return async (request) => await app.fetch(request);
}

/** Nothing but the page's own style is ever loaded, and nothing of it is kept by anybody. */
const HEADERS = {
  "cache-control": "no-store",
  "content-security-policy":
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

class StatusSite {
  #options: StatusSiteOptions;
  #token: OperatorToken;
  #now: () => number;
  #cache: BriefCache;

  constructor(options: StatusSiteOptions) {
    this.#options = options;
    this.#token = new OperatorToken(options.token);
    this.#now = options.now ?? Date.now;
    this.#cache = new BriefCache(this.#now);
  }

  async page(context: Context): Promise<Response> {
    const visitor = this.#visitor(context);
    if (visitor === "impostor") return unauthorized(context);
    const isOperator = visitor === "operator";
    const hasToken = this.#token.isSet;
    const make = async () => renderPage(await this.#view(visitor), { isOperator, hasToken });
    return context.html(await this.#cache.get(`page ${visitor}`, make));
  }

  async json(context: Context): Promise<Response> {
    const visitor = this.#visitor(context);
    return visitor === "impostor" ? unauthorized(context) : context.json(await this.#view(visitor));
  }

  async metrics(context: Context): Promise<Response> {
    const visitor = this.#visitor(context);
    if (visitor === "impostor") return unauthorized(context);
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

  async signIn(context: Context): Promise<Response> {
    const { token } = await context.req.parseBody();
    if (typeof token !== "string" || !this.#token.matches(token)) {
      return context.html(await renderSignIn(true), 401);
    }
    setCookie(context, COOKIE, this.#token.openSession(this.#now()), {
      httpOnly: true,
      maxAge: SESSION_SECONDS,
      path: "/",
      // Strict, so that no other site can start a run in an operator's name.
      sameSite: "Strict",
      secure: new URL(context.req.url).protocol === "https:",
    });
    return context.redirect("/", 303);
  }

  async run(context: Context): Promise<Response> {
    if (!this.#token.isSet) {
      return context.json({ error: "Cannot run on demand: no token is set (IMAGE_SYNCER_TOKEN)" }, 403);
    }
    if (this.#visitor(context) !== "operator") return unauthorized(context);
    const { service } = this.#options;
    const start = await service.begin("request");
    this.#cache.clear();
    const isForm = context.req.header("content-type")?.startsWith("application/x-www-form-urlencoded");
    if (isForm) return context.redirect("/", 303);
    if (start.type === "refused") return context.json({ error: `Cannot run now: ${start.why}` }, 409);
    const lines = streamRun(service, start.end).pipeThrough(new TextEncoderStream());
    return context.body(lines, 200, { "content-type": "application/x-ndjson" });
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
    const { service, schedule } = this.#options;
    const { config, progress, refusal } = service;
    const memory = await service.memory.read();
    return viewStatus({ memory, config, schedule, now: this.#now(), progress, refusal });
  }
}

function unauthorized(context: Context): Response {
  return context.json({ error: "Cannot show this: the token is missing or wrong" }, 401, {
    "www-authenticate": 'Bearer realm="image-syncer"',
  });
}

/** A line each second for as long as the run lasts: on Deno Deploy, bytes that go out keep the program awake. */
function streamRun(service: MirrorService, end: Promise<RunRecord>): ReadableStream<string> {
  let timer: ReturnType<typeof setInterval> | undefined;
  return new ReadableStream({
    start(controller) {
      const write = (line: object) => controller.enqueue(`${JSON.stringify(line)}\n`);
      const say = () => write({ type: "running", ...service.progress });
      say();
      timer = setInterval(say, LINE_INTERVAL);
      // Whoever stops listening cancels the stream; the run goes on.
      const finish = (run: RunRecord) => {
        if (timer === undefined) return;
        clearInterval(timer);
        write({ type: "ended", run });
        controller.close();
      };
      end.then(finish, (error) => timer === undefined ? undefined : controller.error(error));
    },
    cancel() {
      clearInterval(timer);
      timer = undefined;
    },
  });
}
