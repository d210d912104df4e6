/** What the site tells for as long as somebody listens: how far a run is, and that the page has changed. */

import type { MirrorService } from "../service/service.ts";
import type { RunRecord } from "../service/status.ts";

/** Milliseconds between two lines. */
const LINE_INTERVAL = 1000;
/** Milliseconds between two times that it is told whether the page has changed: a page of hundreds of rules is not to be sent each second. */
const EVENT_INTERVAL = 2000;
/** Turns without news after which it is told all the same: proxies cut off what is silent, and times on the page grow old. */
const SILENT_TURNS = 15;
/** Pages that are told at once. */
const WATCHERS_AT_ONCE = 100;

const watchers = new WeakMap<MirrorService, number>();

/** A line each second for as long as a run lasts: on Deno Deploy, bytes that go out keep the program awake. */
export function streamRun(service: MirrorService, end: Promise<RunRecord>): ReadableStream<string> {
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

/**
 * Server-sent events: one whenever the page is worth asking for again. They name nothing, so anybody may have them.
 *
 * @returns Nothing where too many listen already.
 */
export function streamChanges(service: MirrorService): ReadableStream<string> | undefined {
  const count = watchers.get(service) ?? 0;
  if (count >= WATCHERS_AT_ONCE) return undefined;
  watchers.set(service, count + 1);
  let timer: ReturnType<typeof setInterval> | undefined;
  const end = () => {
    clearInterval(timer);
    watchers.set(service, (watchers.get(service) ?? 1) - 1);
  };
  return new ReadableStream({
    start(controller) {
      let wasRunning = service.progress !== undefined;
      let silent = 0;
      controller.enqueue("retry: 3000\n\n");
      timer = setInterval(() => {
        const isRunning = service.progress !== undefined;
        const isNews = isRunning || wasRunning || ++silent >= SILENT_TURNS;
        wasRunning = isRunning;
        if (isNews) silent = 0;
        if (isNews) controller.enqueue("data: changed\n\n");
        // A stream without end would hold up whoever waits for all answers to end.
        if (!service.isStopped) return;
        end();
        controller.close();
      }, EVENT_INTERVAL);
    },
    cancel: end,
  });
}
