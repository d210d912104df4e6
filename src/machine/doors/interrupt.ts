/** Ctrl-C and its like: the first one stops cleanly, the second at once. */

/** A watch over the signals that ask a process to end. */
export interface Interrupt {
  /** Aborted by the first signal. */
  signal: AbortSignal;
  /** Ends the watch. */
  stop(): void;
}

const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];

/** Watches for SIGINT and SIGTERM until stopped. */
export function onInterrupt(): Interrupt {
  const controller = new AbortController();
  const listener = () => {
    if (controller.signal.aborted) Deno.exit(130);
    controller.abort(new DOMException("interrupted", "AbortError"));
  };
  for (const signal of SIGNALS) Deno.addSignalListener(signal, listener);
  return {
    signal: controller.signal,
    stop: () => {
      for (const signal of SIGNALS) Deno.removeSignalListener(signal, listener);
    },
  };
}
