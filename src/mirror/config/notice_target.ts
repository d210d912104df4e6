/** Step 3 of the walk, the config: whom to tell when a rule begins to fail, and when it is well again. */

import type { Path } from "./json_lines.ts";

/** A place on the web that is told of what has changed. */
export interface NoticeTarget {
  /** Its name in the config, and in the log: the URL may be a secret. */
  name: string;
  /** Where the notice is posted to. */
  url: string;
  /** What it is told; everything unless the config says otherwise. */
  on: ("failure" | "recovery")[];
  /** The body to send, as JSON; `{{name}}` in its strings stands for a field of the notice. */
  template?: unknown;
  /** What the notice is signed with. */
  secret?: string;
}

/** Keys of a target. */
export const NOTICE_KEYS: readonly string[] = ["url", "on", "template", "secret"];
const EVENTS: readonly string[] = ["failure", "recovery"];

/** What reading a target takes. */
export interface NoticePlace {
  /** Where the target stands in the config. */
  path: Path;
  /** Makes the error that names a place. */
  error: (path: Path, why: string) => Error;
  /** Puts variables of the environment into a text. */
  expand: (path: Path, text: string) => string;
}

/**
 * Checks one target.
 *
 * @throws {ConfigError} naming the key, never repeating the URL.
 */
export function readNoticeTarget(
  fields: Record<string, unknown>,
  { path, error, expand }: NoticePlace,
): NoticeTarget {
  const textOf = (key: string): string | undefined => {
    const value = fields[key];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== "string" || value === "") throw error([...path, key], "expected a text");
    return expand([...path, key], value);
  };
  const url = textOf("url");
  if (url === undefined) throw error(path, 'there is no "url"');
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) {
    throw error([...path, "url"], "expected an address that begins with http:// or https://");
  }
  const target: NoticeTarget = {
    name: String(path.at(-1)),
    url,
    on: readEvents(fields.on, { path, error, expand }),
  };
  const secret = textOf("secret");
  if (secret !== undefined) target.secret = secret;
  if (fields.template !== undefined) target.template = fields.template;
  return target;
}

function readEvents(value: unknown, { path, error }: NoticePlace): NoticeTarget["on"] {
  const list = value === undefined ? EVENTS : Array.isArray(value) ? value : [value];
  if (list.length > 0 && list.every((one) => EVENTS.includes(one))) return [...list];
  throw error([...path, "on"], `expected ${EVENTS.map((one) => `"${one}"`).join(" or ")}`);
}
