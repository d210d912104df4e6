/** What went through the fault proxy, counted by what it was for. */

import type { RequestKind } from "../registry/request_log.ts";

/** Numbers of requests, and of bytes of bodies in each direction. */
export interface Traffic {
  /** Requests that came. */
  requests: number;
  /** Bytes of request bodies that were passed to the registry. */
  sent: number;
  /** Bytes of answers' bodies that were passed to the client. */
  served: number;
}

/** Traffic by kind of request. */
export class TrafficCounter {
  readonly #kinds = new Map<RequestKind, Traffic>();

  /** The traffic of one kind so far. */
  of(kind: RequestKind): Traffic {
    let traffic = this.#kinds.get(kind);
    if (traffic === undefined) {
      traffic = { requests: 0, sent: 0, served: 0 };
      this.#kinds.set(kind, traffic);
    }
    return traffic;
  }

  /** The traffic of all kinds together. */
  total(): Traffic {
    const sum: Traffic = { requests: 0, sent: 0, served: 0 };
    for (const { requests, sent, served } of this.#kinds.values()) {
      sum.requests += requests;
      sum.sent += sent;
      sum.served += served;
    }
    return sum;
  }

  /** Begins anew. */
  reset(): void {
    this.#kinds.clear();
  }
}
