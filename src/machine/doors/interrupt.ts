/** Ctrl-C and its like: the first one stops cleanly, the second at once. */

import process from "node:process";

/** A watch over the signals that ask a process to end. */
export interface Interrupt {
  /** Aborted by the first signal. */
  signal: AbortSignal;
  /** Ends the watch. */
  stop(): void;
}

/**
 * Watches for SIGINT and SIGTERM until stopped.
 *
 * @param leave Called before the second one ends the process, to leave the terminal as it was.
 */
export function onInterrupt(leave: () => void = () => {}): Interrupt {
  const controller = new AbortController();
  const listener = () => {
    if (controller.signal.aborted) {
      leave();
      process.exit(130);
    }
    controller.abort(new DOMException("interrupted", "AbortError"));
  };
  const signals = process.platform === "win32" ? ["SIGINT"] as const : ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.on(signal, listener);
  return {
    signal: controller.signal,
    stop: () => {
      for (const signal of signals) process.off(signal, listener);
    },
  };
}
