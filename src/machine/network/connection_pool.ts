/** Connections that wait for another request. */

import type { HttpConnection } from "./http_connection.ts";

/**
 * Milliseconds for which a connection waits. Servers close theirs after a time of their own, and a stream that was sent to a
 * closed one cannot be sent again; blobs follow one another sooner than that.
 */
const IDLE_TIME = 4000;

interface Idle {
  connection: HttpConnection;
  since: number;
}

/** The connections of one client, by origin. */
export class ConnectionPool {
  #all = new Set<HttpConnection>();
  #idle = new Map<string, Idle[]>();

  /** A connection to an origin that waits, the one used last, if there is any. */
  take(origin: string): HttpConnection | undefined {
    const waiting = this.#idle.get(origin) ?? [];
    for (let idle = waiting.pop(); idle !== undefined; idle = waiting.pop()) {
      if (performance.now() - idle.since < IDLE_TIME) return idle.connection;
      this.drop(idle.connection);
    }
    return undefined;
  }

  /** Takes note of a new connection. */
  add(connection: HttpConnection): void {
    this.#all.add(connection);
  }

  /** Keeps a connection for another request. */
  keep(origin: string, connection: HttpConnection): void {
    const waiting = this.#idle.get(origin) ?? [];
    this.#idle.set(origin, waiting);
    waiting.push({ connection, since: performance.now() });
  }

  /** Closes a connection. */
  drop(connection: HttpConnection): void {
    connection.close();
    this.#all.delete(connection);
  }

  /** Closes all of them; what is under way fails. */
  close(): void {
    for (const connection of this.#all) connection.close();
    this.#all.clear();
    this.#idle.clear();
  }
}
