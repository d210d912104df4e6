/** What the fault proxy can do to a request, and which requests it does it to. */

import { createRandom } from "../images.ts";
import { parseRoute } from "../registry/route.ts";
import type { RequestKind } from "../registry/request_log.ts";

/**
 * Where a connection breaks: when a request has come but was not passed on, in the middle of its body, when the registry
 * has answered but the client does not know (the work is done, the answer lost), or in the middle of the answer's body.
 */
export type Point = "request-head" | "request-body" | "answer-head" | "answer-body";

/** One thing that goes wrong. */
export type Fault =
  /** The connection breaks with an RST, ends with a FIN, or nothing moves on it any more. */
  | { type: "reset" | "close" | "stall"; at: Point }
  /** The connection breaks and nobody listens until {@linkcode FaultProxy.listen} is called again. */
  | { type: "refuse" }
  /** The proxy answers in the registry's place, in the middle of the request's body where it has one and `at` says so. */
  | {
    type: "answer";
    status: number;
    headers?: Record<string, string>;
    body?: string;
    at?: "request-head" | "request-body";
  }
  /** The answer is not HTTP. */
  | { type: "garbage" }
  /** A redirect to the same URL. */
  | { type: "redirect-loop" }
  /** The answer's body is so many bytes longer, or shorter when negative, and its Content-Length says so. */
  | { type: "length"; by: number }
  /** One bit in the middle of the answer's body is wrong. */
  | { type: "flip" }
  /** The answer's body comes in so many pieces with a pause (milliseconds) before each. */
  | { type: "drip"; pieces: number; pause: number };

/** A request as rules see it. */
export interface ProxiedRequest {
  /** Method. */
  method: string;
  /** Path with its query. */
  path: string;
  /** Which endpoint it is for. */
  kind: RequestKind;
  /** Bytes of its body, as announced; `undefined` where it comes in chunks. */
  length: number | undefined;
}

/** Which requests a fault strikes. */
export interface FaultRule {
  /** What goes wrong. */
  fault: Fault;
  /** Whether it can strike a request; any unless told. */
  matches?: (request: ProxiedRequest) => boolean;
  /** How often it strikes; once unless told. */
  times?: number;
  /** Whether {@linkcode times} counts for each method and URL by itself. Without it, it counts for all of them together. */
  isPerUrl?: boolean;
  /** With {@linkcode isPerUrl}, how many URLs are struck at most: every new upload has a URL of its own. */
  urls?: number;
}

/** What a request line and a length say. */
export function describeRequest(startLine: string, length: number | undefined): ProxiedRequest {
  const [method = "", path = ""] = startLine.split(" ");
  const { kind } = parseRoute(path.split("?")[0] ?? "");
  return { method, path, kind, length };
}

/** What decides about each request: rules of which the first that strikes counts, or a function. */
export type FaultPlan = readonly FaultRule[] | ((request: ProxiedRequest) => Fault | undefined);

/** A plan with a memory of how often each rule has struck. */
export class FaultRules {
  readonly #choose: (request: ProxiedRequest) => Fault | undefined;
  readonly #rules: { rule: FaultRule; strikes: Map<string, number> }[];
  /** How many requests were struck so far. */
  struck = 0;

  /** Nothing has struck yet. */
  constructor(plan: FaultPlan) {
    this.#choose = typeof plan === "function" ? plan : (request) => this.#firstRule(request);
    this.#rules = typeof plan === "function" ? [] : plan.map((rule) => ({ rule, strikes: new Map() }));
  }

  /** The fault that strikes a request, if any. */
  strike(request: ProxiedRequest): Fault | undefined {
    const fault = this.#choose(request);
    if (fault !== undefined) this.struck++;
    return fault;
  }

  #firstRule(request: ProxiedRequest): Fault | undefined {
    for (const { rule, strikes } of this.#rules) {
      const { fault, matches = () => true, times = 1, isPerUrl = false, urls = Infinity } = rule;
      if (!matches(request)) continue;
      const key = isPerUrl ? keyOf(request) : "";
      const count = strikes.get(key) ?? 0;
      if (count >= times || count === 0 && strikes.size >= urls) continue;
      strikes.set(key, count + 1);
      return fault;
    }
    return undefined;
  }
}

/** What counts as one URL: an upload that says its digest is the same thing each time it is begun anew. */
function keyOf({ method, path }: ProxiedRequest): string {
  const digest = /[?&]digest=([^&]+)/.exec(path)?.[1];
  return `${method} ${digest ?? path.split("?")[0]}`;
}

/** Faults after which an honest registry answers rightly when it is asked again. */
export const PASSING_FAULTS: readonly Fault[] = [
  { type: "reset", at: "request-head" },
  { type: "reset", at: "request-body" },
  { type: "reset", at: "answer-head" },
  { type: "reset", at: "answer-body" },
  { type: "close", at: "request-head" },
  { type: "close", at: "request-body" },
  { type: "close", at: "answer-head" },
  { type: "close", at: "answer-body" },
  { type: "answer", status: 500 },
  { type: "answer", status: 502, at: "request-body" },
  { type: "answer", status: 503 },
  { type: "answer", status: 504 },
  { type: "answer", status: 408 },
  { type: "answer", status: 429, headers: { "retry-after": "1" } },
];

/** Options of {@linkcode randomFaults}. */
export interface RandomFaultOptions {
  /** How likely a request is struck, from 0 to 1. */
  chance: number;
  /** What may strike. */
  faults: readonly Fault[];
  /** How often one URL is struck in a row at most. */
  inARow: number;
}

/** Strikes at random, but the n-th request to a URL always alike for the same seed, in whatever order requests come. */
export function randomFaults(
  seed: number,
  { chance, faults, inARow }: RandomFaultOptions,
): (request: ProxiedRequest) => Fault | undefined {
  const counts = new Map<string, number>();
  const strikes = new Map<string, number>();
  return (request) => {
    const key = keyOf(request);
    const count = (counts.get(key) ?? 0) + 1;
    counts.set(key, count);
    const random = createRandom(hash(`${seed} ${count} ${key}`));
    const struck = strikes.get(key) ?? 0;
    const isStruck = random() < chance && struck < inARow;
    strikes.set(key, isStruck ? struck + 1 : 0);
    return isStruck ? faults[Math.floor(random() * faults.length)] : undefined;
  };
}

/** 32 bits of a text (FNV-1a). */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  return value >>> 0;
}
