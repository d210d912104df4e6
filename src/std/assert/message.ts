/** The words of a failed assertion: how a value is shown and how two values are compared line by line. */

import { AssertionError as NodeAssertionError } from "node:assert";
import { inspect } from "node:util";

/** Shows a value on as many lines as it needs, strings in quotes. */
export function formatValue(value: unknown): string {
  return inspect(value, { depth: 10, sorted: true });
}

/** The end of a first line: the caller's own message after a colon, or a full stop. */
export function formatSuffix(message: string | undefined): string {
  return message ? `: ${message}` : ".";
}

/** Shows two values line by line, `-` for what was found and `+` for what was expected. */
export function formatDifference(actual: unknown, expected: unknown): string {
  // The signs of node:assert are the other way round, and so are the values here.
  const swapped = { actual: expected, expected: actual, operator: "deepStrictEqual" };
  const lines = new NodeAssertionError(swapped).message.split("\n");
  const isCompared = lines[1] === "+ actual - expected";
  const shown = isCompared ? lines.slice(2) : [`- ${formatValue(actual)}`, `+ ${formatValue(expected)}`];
  return `[Diff] Actual / Expected\n\n${shown.join("\n").replace(/^\n+|\n+$/g, "")}`;
}
