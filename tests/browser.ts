/** Chromium without a window, driven through its DevTools protocol, for tests of what a person sees. */

import { TextLineStream } from "@std/streams/text-line-stream";

/** Where Debian, and others, put it. */
const PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** How a page is shown. */
export interface Look {
  /** Width of the window in CSS pixels. */
  width: number;
  /** Height of the window in CSS pixels. */
  height: number;
  /** What the reader's system prefers. */
  scheme: "light" | "dark";
}

/** What the browser answers or tells. */
interface Message {
  id?: number;
  sessionId?: string;
  method?: string;
  result?: Record<string, unknown>;
  error?: { message: string };
}

/**
 * Opens the browser; `undefined`, and a warning that cannot be overlooked, where there is none.
 *
 * @throws {Error} where there is none and the tests run unattended (`CI` is set).
 */
export async function openBrowser(): Promise<Browser | undefined> {
  const found = await Promise.all(PATHS.map(async (path) => await exists(path) ? path : undefined));
  const path = found.find((one) => one !== undefined);
  if (path !== undefined) return await Browser.start(path);
  const why = "Cannot look at pages: there is no Chromium (on Debian: apt-get install chromium)";
  if (Deno.env.get("CI")) throw new Error(why);
  console.warn(`\n*** NOT TESTED. ${why} ***\n`);
  return undefined;
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}

/** A browser that runs. */
export class Browser implements AsyncDisposable {
  #process: Deno.ChildProcess;
  #socket: WebSocket;
  #profile: string;
  #closed = Promise.withResolvers<void>();
  #next = 1;
  #answers = new Map<number, PromiseWithResolvers<Record<string, unknown>>>();
  #listeners = new Set<(message: Message) => void>();

  private constructor(process: Deno.ChildProcess, socket: WebSocket, profile: string) {
    this.#process = process;
    this.#socket = socket;
    this.#profile = profile;
    socket.addEventListener("message", ({ data }) => this.#hear(JSON.parse(data)));
    socket.addEventListener("close", () => this.#closed.resolve());
  }

  /** Starts the program at a path. */
  static async start(path: string): Promise<Browser> {
    const profile = await Deno.makeTempDir();
    const args = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"];
    const process = new Deno.Command(path, {
      args: [...args, `--user-data-dir=${profile}`, "about:blank"],
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const socket = new WebSocket(await readUrl(process.stderr));
    await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }));
    return new Browser(process, socket, profile);
  }

  /** Opens an empty page. */
  async openPage(look: Look): Promise<Page> {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, String(sessionId));
    await page.send("Page.enable");
    const { width, height, scheme } = look;
    await page.send("Emulation.setDeviceMetricsOverride", {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: true,
    });
    const features = [{ name: "prefers-color-scheme", value: scheme }];
    await page.send("Emulation.setEmulatedMedia", { features });
    return page;
  }

  /** Sends a command and gives its answer. */
  async send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = this.#next++;
    const answer = Promise.withResolvers<Record<string, unknown>>();
    this.#answers.set(id, answer);
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    return await answer.promise;
  }

  /** Waits for the next time that something happens in a session. */
  next(method: string, sessionId: string): Promise<void> {
    return new Promise((resolve) => {
      const listener = (message: Message) => {
        if (message.method !== method || message.sessionId !== sessionId) return;
        this.#listeners.delete(listener);
        resolve();
      };
      this.#listeners.add(listener);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Killed, it would leave children behind that still write into the profile.
    await this.send("Browser.close");
    await this.#closed.promise;
    await this.#process.status;
    await Deno.remove(this.#profile, { recursive: true });
  }

  #hear(message: Message): void {
    for (const listener of [...this.#listeners]) listener(message);
    const answer = this.#answers.get(message.id ?? 0);
    this.#answers.delete(message.id ?? 0);
    if (message.error === undefined) answer?.resolve(message.result ?? {});
    else answer?.reject(new Error(`Cannot drive browser: ${message.error.message}`));
  }
}

/** One page of a browser. */
export class Page {
  #browser: Browser;
  #session: string;

  /** A page in a session of the protocol. */
  constructor(browser: Browser, session: string) {
    this.#browser = browser;
    this.#session = session;
  }

  /** Sends a command about this page. */
  send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    return this.#browser.send(method, params, this.#session);
  }

  /** Does what makes the page load something, and waits until it has. */
  async load(act: () => Promise<unknown>): Promise<void> {
    const loaded = this.#browser.next("Page.loadEventFired", this.#session);
    await act();
    await loaded;
  }

  /** Goes to an address. */
  async go(url: string): Promise<void> {
    await this.load(() => this.send("Page.navigate", { url }));
  }

  /** The value of an expression in the page, or what a promise comes to. */
  async evaluate(expression: string): Promise<unknown> {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails !== undefined) throw new Error(`Cannot evaluate "${expression}" in the page`);
    return (result as { value?: unknown }).value;
  }

  /** A picture of the whole page as PNG, kept in the directory `SCREENSHOTS` names, if it names one. */
  async picture(name: string): Promise<Uint8Array> {
    const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true });
    const bytes = Uint8Array.fromBase64(String(data));
    const directory = Deno.env.get("SCREENSHOTS");
    if (directory !== undefined) await Deno.writeFile(`${directory}/${name}.png`, bytes);
    return bytes;
  }
}

async function readUrl(stderr: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<string> {
  const lines = stderr.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
  for await (const line of lines) {
    const [, url] = /DevTools listening on (ws:\S+)/.exec(line) ?? [];
    if (url !== undefined) return url;
  }
  throw new Error("Cannot start browser: it has ended without a word");
}
