/** One test for each item of the compatibility checklist, so that `deno test --filter "compat 37"` runs that one. */

/** One thing that an item says. */
interface Part {
  statement: string;
  run: () => void | Promise<void>;
}

const items = new Map<number, Part[]>();

/**
 * Adds a part to the test of an item; several parts of one item are its steps, and must be in one file.
 *
 * @param number Number in the checklist, from 1.
 * @param statement What this part holds.
 */
export function compat(number: number, statement: string, run: Part["run"]): void {
  const known = items.get(number);
  if (known !== undefined) {
    known.push({ statement, run });
    return;
  }
  const parts = [{ statement, run }];
  items.set(number, parts);
  // All parts are there by the time the test runs: a file is loaded to its end before its first test.
  Deno.test(`compat ${String(number).padStart(2, "0")}: ${statement}`, async (test) => {
    for (const part of parts) {
      if (parts.length === 1) await part.run();
      else await test.step(part.statement, async () => await part.run());
    }
  });
}
