/** One request on its way through the fault proxy, its answer on the way back, and what goes wrong in between. */

import type { Fault, Point } from "./fault.ts";
import {
  answerFraming,
  formatHead,
  frame,
  frameEnd,
  type Framing,
  type Head,
  headerOf,
  readBody,
  readHead,
  requestFraming,
  statusOf,
  withHeader,
} from "./http_wire.ts";
import { type Bytes, GoneError, type Peer } from "./peer.ts";
import type { Traffic } from "./traffic.ts";

/** What an exchange is made of. */
export interface ExchangeParts {
  /** Who asks. */
  client: Peer;
  /** Connects to the registry; a connection that is still good is given again. */
  connect: () => Promise<Peer>;
  /** Head of the request. */
  head: Head;
  /** What goes wrong, if anything. */
  fault: Fault | undefined;
  /** Where bytes are counted. */
  traffic: Traffic;
}

/** The connection was broken on purpose, or there is nothing left to do with it. */
class OverError extends Error {}

/** A body that is cut is cut here when its length is not known, in bytes. */
const CUT_OF_UNKNOWN = 32 * 1024;
/** Bytes of an answer's body that are added or left out at once by a fault of the length. */
const FILLER = new Uint8Array(1024);

/** One request and its answer. */
export class ProxiedExchange {
  readonly #parts: ExchangeParts;
  readonly #method: string;
  #isBreaking = false;

  /** Nothing is done before {@linkcode run}. */
  constructor(parts: ExchangeParts) {
    this.#parts = parts;
    this.#method = parts.head.startLine.split(" ")[0] ?? "";
  }

  /**
   * Passes the request on and the answer back.
   *
   * @returns Whether the connections may be used for another request.
   */
  async run(): Promise<boolean> {
    try {
      if (await this.#answerByItself()) return true;
      return await this.#pass();
    } catch (error) {
      if (error instanceof OverError || error instanceof GoneError) return false;
      throw error;
    }
  }

  /** Faults that need no registry; returns whether the request is answered. */
  async #answerByItself(): Promise<boolean> {
    const { fault, head } = this.#parts;
    await this.#break("request-head");
    if (fault?.type === "answer" && fault.at !== "request-body") await this.#answer(fault);
    else if (fault?.type === "redirect-loop") {
      const location = head.startLine.split(" ")[1] ?? "/";
      await this.#answer({ status: 307, headers: { location } });
    } else if (fault?.type === "garbage") {
      await this.#drain();
      await this.#parts.client.write("GARBAGE 200 what\r\n\u0001\r\n\r\n");
      this.#parts.client.close();
      throw new OverError();
    } else return false;
    return true;
  }

  async #pass(): Promise<boolean> {
    const { client, connect, head } = this.#parts;
    const registry = await connect();
    await registry.write(formatHead(head));
    let isSent = false;
    const sending = this.#send(registry).then(() => {
      isSent = true;
    });
    // Whoever fails first decides; the other's failure is then a consequence.
    sending.catch(() => {});
    const answer = await Promise.race([this.#readAnswer(registry), failureOf(sending)]);
    await this.#break("answer-head", registry);
    const framing = answerFraming(answer, this.#method);
    await Promise.race([this.#serve(registry, answer, framing), failureOf(sending)]);
    const isOver = framing.type === "until-close" ||
      [answer, head].some((one) => headerOf(one, "connection")?.toLowerCase() === "close");
    if (statusOf(answer) < 400) await sending;
    // A refusal that came before the end of the request leaves bytes that nobody wants.
    if (!isOver && isSent) return true;
    if (!isSent) await this.#linger(sending);
    client.close();
    registry.destroy();
    return false;
  }

  /** Takes what the client still sends: a connection that is closed at once would take the answer with it. */
  async #linger(sending: Promise<void>): Promise<void> {
    const { client } = this.#parts;
    client.endWriting();
    await sending.catch(() => {});
    while (await client.read() !== undefined);
  }

  async #readAnswer(registry: Peer): Promise<Head> {
    for (;;) {
      const head = await readHead(registry);
      // What the registry says to a request that is being broken off is not for the client.
      if (this.#isBreaking) return await new Promise<never>(() => {});
      if (head === undefined) throw this.#giveUp(registry);
      if (statusOf(head) >= 200) return head;
      await this.#parts.client.write(formatHead(head));
    }
  }

  /** The registry itself broke off: the client is shown the same. */
  #giveUp(registry: Peer): OverError {
    this.#parts.client.close();
    registry.destroy();
    return new OverError();
  }

  async #send(registry: Peer): Promise<void> {
    const { client, head, traffic } = this.#parts;
    const framing = requestFraming(head);
    const cut = this.#cutAt("request-body", framing);
    let passed = 0;
    for await (const piece of readBody(client, framing)) {
      const part = piece.subarray(0, cut - passed);
      passed += part.length;
      traffic.sent += part.length;
      await registry.write(frame(part, framing));
      if (passed >= cut) await this.#break("request-body", registry);
    }
    await registry.write(frameEnd(framing));
  }

  async #serve(registry: Peer, head: Head, framing: Framing): Promise<void> {
    const { client, fault, traffic } = this.#parts;
    const body = this.#spoil(readBody(registry, framing), framing);
    await client.write(formatHead(this.#lie(head, framing)));
    const cut = this.#cutAt("answer-body", framing);
    let passed = 0;
    for await (const piece of fault?.type === "drip" ? dripped(body, fault, framing) : body) {
      const part = piece.subarray(0, cut - passed);
      passed += part.length;
      traffic.served += part.length;
      await client.write(frame(part, framing));
      if (passed >= cut) await this.#break("answer-body", registry);
    }
    await client.write(frameEnd(framing));
  }

  /** The head that fits a body of the wrong length. */
  #lie(head: Head, framing: Framing): Head {
    const { fault } = this.#parts;
    if (fault?.type !== "length" || framing.type !== "length" || framing.length === 0) return head;
    return withHeader(head, "content-length", `${Math.max(1, framing.length + fault.by)}`);
  }

  async *#spoil(body: AsyncGenerator<Bytes>, framing: Framing): AsyncGenerator<Bytes> {
    const { fault } = this.#parts;
    if (framing.type !== "length" || framing.length === 0) return yield* body;
    const wanted = fault?.type === "length" ? Math.max(1, framing.length + fault.by) : framing.length;
    const middle = Math.floor(framing.length / 2);
    let position = 0;
    for await (const piece of body) {
      const index = middle - position;
      if (fault?.type === "flip" && index >= 0 && index < piece.length) {
        piece[index] = (piece[index] ?? 0) ^ 1;
      }
      const left = Math.max(0, wanted - position);
      position += piece.length;
      if (left > 0) yield piece.subarray(0, left);
    }
    for (let left = wanted - position; left > 0; left -= FILLER.length) yield FILLER.slice(0, left);
  }

  /** After how many bytes the body breaks. */
  #cutAt(point: Point, framing: Framing): number {
    const { fault } = this.#parts;
    if (fault === undefined || !("at" in fault) || fault.at !== point) return Infinity;
    return framing.type === "length" ? Math.floor(framing.length / 2) : CUT_OF_UNKNOWN;
  }

  /** Breaks here if that is what is to go wrong here. */
  async #break(point: Point, registry?: Peer): Promise<void> {
    const { fault, client } = this.#parts;
    if (fault === undefined || !("at" in fault) || fault.at !== point) return;
    if (fault.type === "answer" && point === "request-head") return;
    this.#isBreaking = true;
    if (fault.type === "answer") {
      registry?.destroy();
      await this.#answer(fault);
      throw new OverError();
    }
    // What was passed on has to arrive at the registry too.
    if (fault.type !== "stall") registry?.close();
    if (fault.type === "reset") await client.resetAfterArrival();
    else if (fault.type === "close") client.close();
    else await client.closed;
    throw new OverError();
  }

  /** Answers and waits until the client has let go of what it still sends, as servers do that want to be heard. */
  async #answer(
    { status, headers = {}, body = "" }: { status: number; headers?: Record<string, string>; body?: string },
  ): Promise<void> {
    const { client } = this.#parts;
    const isWhole = await this.#drain();
    const lines = Object.entries({
      ...headers,
      "content-length": `${new TextEncoder().encode(body).length}`,
      ...(!isWhole && { connection: "close" }),
    });
    await client.write(formatHead({ startLine: `HTTP/1.1 ${status} Fault`, headers: lines }));
    await client.write(this.#method === "HEAD" ? "" : body);
    if (isWhole) return;
    while (await client.read() !== undefined);
    client.close();
    throw new OverError();
  }

  /** Reads the request's body where that is a matter of moments; whether it is read. */
  async #drain(): Promise<boolean> {
    const { client, head, fault } = this.#parts;
    const framing = requestFraming(head);
    const isShort = framing.type === "length" && framing.length <= CUT_OF_UNKNOWN;
    if (!isShort || fault !== undefined && "at" in fault && fault.at === "request-body") return false;
    for await (const _ of readBody(client, framing));
    return true;
  }
}

/** Never resolves; rejects when the promise does. */
function failureOf(promise: Promise<unknown>): Promise<never> {
  return new Promise((_, reject) => promise.catch(reject));
}

/** A body in small pieces with pauses: slow, but never still for long. */
async function* dripped(
  body: AsyncGenerator<Bytes>,
  { pieces, pause }: { pieces: number; pause: number },
  framing: Framing,
): AsyncGenerator<Bytes> {
  const size = Math.max(1, Math.ceil((framing.type === "length" ? framing.length : CUT_OF_UNKNOWN) / pieces));
  for await (const piece of body) {
    for (let start = 0; start < piece.length; start += size) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      yield piece.subarray(start, start + size);
    }
  }
}
