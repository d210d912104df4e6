/** A TCP proxy before any registry without TLS that breaks what it is told to break, and counts what went through. */

import net from "node:net";
import { describeRequest, type FaultPlan, FaultRules, type ProxiedRequest } from "./faults/fault.ts";
import { type Head, readHead, requestFraming } from "./faults/http_wire.ts";
import { Peer } from "./faults/peer.ts";
import { ProxiedExchange } from "./faults/proxied_exchange.ts";
import { TrafficCounter } from "./faults/traffic.ts";

export type { Fault, FaultPlan, FaultRule, Point, ProxiedRequest } from "./faults/fault.ts";
export type { Traffic } from "./faults/traffic.ts";

/** The proxy. It can be reached after {@linkcode listen}. */
export class FaultProxy implements AsyncDisposable {
  /** What went through. */
  readonly traffic: TrafficCounter = new TrafficCounter();
  readonly #target: number;
  readonly #peers = new Set<Peer>();
  readonly #work = new Set<Promise<void>>();
  #rules: FaultRules;
  #port = 0;
  #server: net.Server | undefined;
  #closing: Promise<unknown> = Promise.resolve();

  /**
   * Does nothing yet.
   *
   * @param target The registry, as `127.0.0.1:PORT`.
   */
  constructor(target: { host: string }, plan: FaultPlan = []) {
    this.#target = Number(target.host.split(":")[1]);
    this.#rules = new FaultRules(plan);
  }

  /** Makes a proxy and lets it listen on a free port. */
  static async start(target: { host: string }, plan: FaultPlan = []): Promise<FaultProxy> {
    const proxy = new FaultProxy(target, plan);
    await proxy.listen();
    return proxy;
  }

  /** `127.0.0.1:PORT`, as the registry part of a reference. */
  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** How many requests were struck. */
  get struck(): number {
    return this.#rules.struck;
  }

  /** Other faults from now on. */
  setPlan(plan: FaultPlan): void {
    this.#rules = new FaultRules(plan);
  }

  /** Listens, after {@linkcode refuse} on the same port again. */
  async listen(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = net.createServer({ noDelay: true }, (socket) => this.#accept(new Peer(socket)));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#port, "127.0.0.1", () => resolve());
    });
    const address = server.address();
    if (address !== null && typeof address === "object") this.#port = address.port;
  }

  /** Breaks every connection and refuses new ones until {@linkcode listen}. */
  refuse(): void {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    this.#closing = Promise.all([this.#closing, closed]);
    for (const peer of this.#peers) peer.reset();
  }

  /** Stops; connections under way are broken. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.refuse();
    await Promise.all(this.#work);
    await this.#closing;
  }

  #accept(client: Peer): void {
    const work = this.#serve(this.#own(client)).finally(() => this.#work.delete(work));
    this.#work.add(work);
  }

  #own(peer: Peer): Peer {
    this.#peers.add(peer);
    const gone = peer.closed.then(() => {
      this.#peers.delete(peer);
      this.#work.delete(gone);
    });
    this.#work.add(gone);
    return peer;
  }

  async #serve(client: Peer): Promise<void> {
    let registry: Peer | undefined;
    const connect = async () => registry ??= this.#own(await Peer.connect(this.#target));
    try {
      for (;;) {
        const head = await readHead(client);
        if (head === undefined || !await this.#exchange(client, head, connect)) return;
      }
    } finally {
      registry?.destroy();
      client.close();
    }
  }

  /** Passes one request on; returns whether another may follow. */
  async #exchange(client: Peer, head: Head, connect: () => Promise<Peer>): Promise<boolean> {
    const request = this.#describe(head);
    const fault = this.#rules.strike(request);
    const traffic = this.traffic.of(request.kind);
    traffic.requests++;
    if (fault?.type !== "refuse") {
      return await new ProxiedExchange({ client, connect, head, fault, traffic }).run();
    }
    this.refuse();
    return false;
  }

  #describe(head: Head): ProxiedRequest {
    const framing = requestFraming(head);
    return describeRequest(head.startLine, framing.type === "length" ? framing.length : undefined);
  }
}
