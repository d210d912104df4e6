/** Timers of `setInterval` in the hands of a test. */

interface Interval {
  at: number;
  every: number;
  act: () => void;
}

/** Takes `setInterval` and `clearInterval` over until it is disposed of. */
export class FakeTime implements Disposable {
  #time = 0;
  #intervals = new Map<number, Interval>();
  #real = { set: globalThis.setInterval, clear: globalThis.clearInterval };

  /** No time has passed yet. */
  constructor() {
    const set = (act: () => void, every: number) => {
      const id = this.#intervals.size + 1;
      this.#intervals.set(id, { at: this.#time + every, every, act });
      return id;
    };
    globalThis.setInterval = set as unknown as typeof setInterval;
    globalThis.clearInterval = (id) => void this.#intervals.delete(Number(id));
  }

  /** Lets time pass and calls what is due, as often as it is. */
  pass(milliseconds: number): void {
    const until = this.#time + milliseconds;
    for (const interval of this.#intervals.values()) {
      while (interval.at <= until) {
        interval.act();
        interval.at += interval.every;
      }
    }
    this.#time = until;
  }

  [Symbol.dispose](): void {
    globalThis.setInterval = this.#real.set;
    globalThis.clearInterval = this.#real.clear;
  }
}
