/** Answers that are made at most once a second, however often they are asked for. */

/** Milliseconds that an answer stays good. */
const FRESH_FOR = 1000;

/** Answers that are kept: some of their keys are what somebody has typed. */
const KEPT = 32;

/** A cache of what is expensive to make and may be a second old. */
export class BriefCache {
  #entries = new Map<string, { at: number; value: Promise<unknown> }>();
  #now: () => number;

  /** @param now Milliseconds from any fixed moment. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** What was made for a key within the last second, or what is made for it now. A failure is not kept. */
  get<Value>(key: string, make: () => Promise<Value>): Promise<Value> {
    const known = this.#entries.get(key);
    if (known !== undefined && Math.abs(this.#now() - known.at) < FRESH_FOR) {
      return known.value as Promise<Value>;
    }
    const value = make();
    const entry = { at: this.#now(), value };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > KEPT && oldest !== undefined) this.#entries.delete(oldest);
    value.catch(() => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    });
    return value;
  }

  /** Forgets everything: something has happened that is to be seen at once. */
  clear(): void {
    this.#entries.clear();
  }
}
