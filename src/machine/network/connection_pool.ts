/** Connections that wait for another request. */

import type { Way } from "./connector.ts";

/**
 * Milliseconds for which a connection waits. Servers close theirs after a time of their own, and a stream that was sent to a
 * closed one cannot be sent again; blobs follow one another sooner than that.
 */
const IDLE_TIME = 4000;

interface Idle {
  way: Way;
  since: number;
}

/** The connections of one client, by origin. */
export class ConnectionPool {
  #all = new Set<Way>();
  #idle = new Map<string, Idle[]>();

  /** A connection to an origin that waits, the one used last, if there is any. */
  take(origin: string): Way | undefined {
    const waiting = this.#idle.get(origin) ?? [];
    for (let idle = waiting.pop(); idle !== undefined; idle = waiting.pop()) {
      if (performance.now() - idle.since < IDLE_TIME && this.#all.has(idle.way)) {
        idle.way.connection.endWatch();
        return idle.way;
      }
      this.drop(idle.way);
    }
    return undefined;
  }

  /** Takes note of a new connection. */
  add(way: Way): void {
    this.#all.add(way);
  }

  /** Keeps a connection for another request, unless it says something that nobody asked for, or ends, before that. */
  keep(origin: string, way: Way): void {
    if (!this.#all.has(way)) return;
    const waiting = (this.#idle.get(origin) ?? []).filter((idle) => this.#all.has(idle.way));
    this.#idle.set(origin, waiting);
    waiting.push({ way, since: performance.now() });
    way.connection.watch(() => this.drop(way));
  }

  /** Closes a connection. */
  drop(way: Way): void {
    way.connection.close();
    this.#all.delete(way);
  }

  /** Closes all of them; what is under way fails. */
  close(): void {
    for (const { connection } of this.#all) connection.close();
    this.#all.clear();
    this.#idle.clear();
  }
}
