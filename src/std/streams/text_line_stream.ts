/** A stream of text, line by line. */

/** Options of {@linkcode TextLineStream}. */
export interface TextLineStreamOptions {
  /**
   * Whether `\r` alone ends a line too.
   *
   * @default {false}
   */
  allowCR?: boolean;
}

/**
 * Cuts a stream of texts at each `\n` or `\r\n` and passes on the lines without them. The end of the stream ends the
 * last line, unless that is empty.
 */
export class TextLineStream extends TransformStream<string, string> {
  /** Makes a stream that cuts at line ends. */
  constructor(options: TextLineStreamOptions = {}) {
    const ending = options.allowCR ? /\r\n|\n|\r/ : /\r?\n/;
    const unfinished: string[] = [];
    super({
      transform(chunk, controller) {
        // A long line in many chunks is joined once, at its end: searching it again for each chunk is quadratic.
        const isInside = !(options.allowCR ? /[\r\n]/ : /\n/).test(chunk) &&
          !unfinished.at(-1)?.endsWith("\r");
        if (isInside) return void unfinished.push(chunk);
        const lines = cutLines(unfinished.splice(0).join("") + chunk, ending);
        unfinished.push(lines.rest);
        for (const line of lines.complete) controller.enqueue(line);
      },
      flush(controller) {
        const rest = unfinished.join("");
        if (rest === "") return;
        controller.enqueue(options.allowCR && rest.endsWith("\r") ? rest.slice(0, -1) : rest);
      },
    });
  }
}

/** A `\r` at the end of the text may be the half of a `\r\n`, so it stays in the rest. */
function cutLines(text: string, ending: RegExp): { complete: string[]; rest: string } {
  const isHalf = text.endsWith("\r");
  const complete = (isHalf ? text.slice(0, -1) : text).split(ending);
  const rest = complete.pop() ?? "";
  return { complete, rest: isHalf ? `${rest}\r` : rest };
}
