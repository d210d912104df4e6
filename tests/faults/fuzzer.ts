/** Damages good texts at random and watches what a function makes of them. */

import { assert } from "@std/assert";
import { createRandom, type Random } from "../images.ts";

/** What a fuzz test is about. */
export interface FuzzSubject {
  /** What is damaged, for the line that is printed. */
  name: string;
  /** Good texts to begin with. */
  seeds: readonly string[];
  /** Pieces of syntax that are put in between. */
  words: readonly string[];
  /** Takes a text; throws an {@linkcode allowed} error to refuse it. A promise is waited for. */
  take: (text: string) => unknown;
  /** Errors by which a text may be refused. */
  allowed: readonly (new (...args: never[]) => Error)[];
  /** How many texts; {@linkcode FUZZ_COUNT} unless told. */
  count?: number;
}

/** How many texts of each kind are tried (issue 6). */
export const FUZZ_COUNT = 20_000;
/** Milliseconds one text may take, on a machine where everything else runs too. */
const SLOW = 2000;
/** Bytes that the heap may have grown by in the end, whatever was read. */
const MEMORY = 256 * 1024 * 1024;

/** The seed of this run: `FAULT_SEED` to have an earlier run again. */
export function faultSeed(): number {
  const given = Deno.env.get("FAULT_SEED") ?? "";
  return given === "" ? crypto.getRandomValues(new Uint32Array(1))[0] ?? 0 : Number(given);
}

/**
 * Tries many damaged texts, and prints the seed and how many were taken and refused.
 *
 * @throws {Error} with the seed and the text, when one is refused with an unknown error, takes too long, or eats memory.
 */
export async function fuzz(subject: FuzzSubject): Promise<void> {
  const { name, count = FUZZ_COUNT } = subject;
  const seed = faultSeed();
  const mutator = new Mutator(createRandom(seed), subject);
  const before = Deno.memoryUsage().heapUsed;
  let taken = 0;
  for (let index = 0; index < count; index++) {
    if (await isTaken(subject, mutator.next(), seed)) taken++;
  }
  const grown = Deno.memoryUsage().heapUsed - before;
  if (grown > MEMORY) throw new Error(`FAULT_SEED=${seed}: ${name} leave ${grown} bytes on the heap`);
  console.log(`fuzz: ${count} ${name}, FAULT_SEED=${seed}: ${taken} taken, ${count - taken} refused`);
}

async function isTaken({ take, allowed }: FuzzSubject, text: string, seed: number): Promise<boolean> {
  const shown = JSON.stringify(text.slice(0, 2000));
  const startedAt = performance.now();
  try {
    await take(text);
    return true;
  } catch (cause) {
    if (allowed.some((type) => cause instanceof type)) return false;
    throw new Error(`FAULT_SEED=${seed}: ${shown} ends in ${cause}`, { cause });
  } finally {
    const took = performance.now() - startedAt;
    assert(took < SLOW, `FAULT_SEED=${seed}: ${shown} takes ${took} ms`);
  }
}

/** Makes one damaged text after another. */
class Mutator {
  readonly #random: Random;
  readonly #seeds: readonly string[];
  readonly #words: readonly string[];

  constructor(random: Random, { seeds, words }: FuzzSubject) {
    this.#random = random;
    this.#seeds = seeds;
    this.#words = [
      ...words,
      "",
      " ",
      "\t",
      "\u0000",
      "\n",
      "é",
      "\u202e",
      "😀",
      "\ud800",
      "9".repeat(20),
      "-1",
    ];
  }

  next(): string {
    let text = this.#pick(this.#seeds);
    for (let times = 1 + this.#below(4); times > 0; times--) text = this.#damage(text);
    return text;
  }

  #damage(text: string): string {
    const start = this.#below(text.length + 1);
    const end = Math.min(text.length, start + this.#below(12));
    const [before, middle, after] = [text.slice(0, start), text.slice(start, end), text.slice(end)];
    switch (this.#below(7)) {
      case 0:
        return before + after;
      case 1:
        return before + this.#pick(this.#words) + after;
      case 2:
        return before + this.#pick(this.#words) + middle + after;
      case 3:
        return before + middle.repeat(this.#below(4)) + after;
      case 4:
        return before + String.fromCharCode(this.#below(256)) + text.slice(start + 1);
      case 5:
        return before + this.#pick(this.#seeds).slice(this.#below(20));
      default:
        // Now and then something long, to find what is slower than linear.
        return this.#below(40) === 0 ? before + (middle || "a").repeat(2000) + after : text;
    }
  }

  #pick(texts: readonly string[]): string {
    return texts[this.#below(texts.length)] ?? "";
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}

/** A text as it can stand in a header: what cannot is left out. */
export function headerText(text: string): string {
  return [...text].filter((one) => /^[\t\x20-\x7e\x80-\xff]$/.test(one)).join("").trim();
}
