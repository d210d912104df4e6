/** Step 3 of the walk, the config: what a rule says of the things that belong to its images, `referrers` and `verify`. */

import type { BelongingsPolicy } from "../rules/belongings_policy.ts";
import type { Path } from "./json_lines.ts";

/** What reading these keys takes. */
export interface BelongingsPlace {
  /** Where the rule stands in the config. */
  path: Path;
  /** Makes the error that names a place. */
  error: (path: Path, why: string) => Error;
}

/** Keys of `referrers`. */
const REFERRERS_KEYS = ["include", "exclude", "require"] as const;
/** Keys of `verify`; what they demand is checked by the check that is passed in. */
const VERIFY_KEYS = ["key", "issuer", "identity", "trustRoot", "transparencyLog"] as const;
/** A media type as RFC 6838 has it, with or without parameters. */
const MEDIA_TYPE = /^[A-Za-z0-9][\w!#$&^.+-]*\/[A-Za-z0-9][\w!#$&^.+-]*(?:;.+)?$/;

/**
 * Checks `referrers` and `verify` of a rule.
 *
 * @returns `undefined` where the rule says nothing of them.
 * @throws {ConfigError} naming the key.
 */
export function readBelongings(
  { referrers, verify }: { referrers?: unknown; verify?: unknown },
  place: BelongingsPlace,
): BelongingsPolicy | false | undefined {
  const wanted = referrers === undefined || referrers === true ? undefined : readReferrers(referrers, place);
  if (verify === undefined) return wanted;
  const demanded = readVerify(verify, place);
  // What is demanded of an image is demanded of one that comes alone as well.
  return wanted === false ? { exclude: ["/^/"], verify: demanded } : { ...wanted, verify: demanded };
}

function readReferrers(value: unknown, { path, error }: BelongingsPlace): BelongingsPolicy | false {
  const at = [...path, "referrers"];
  if (value === false) return false;
  const fields = fieldsOf(value, REFERRERS_KEYS, { path: at, error });
  const policy: { -readonly [Key in keyof BelongingsPolicy]: BelongingsPolicy[Key] } = {};
  for (const key of REFERRERS_KEYS) {
    if (fields[key] === undefined) continue;
    policy[key] = readTypes(fields[key], key === "require", { path: [...at, key], error });
  }
  return policy;
}

function readTypes(value: unknown, isExact: boolean, { path, error }: BelongingsPlace): string[] {
  const types: unknown[] = Array.isArray(value) ? value : [value];
  if (types.length === 0) throw error(path, "expected at least one artifact type");
  return types.map((type) => {
    if (typeof type !== "string" || type === "") throw error(path, "expected artifact types");
    if (isExact && !MEDIA_TYPE.test(type)) throw error(path, `"${type}" is no media type`);
    const mayMatch = type.includes("/") || type.includes("*");
    if (!mayMatch) throw error(path, `"${type}" is no media type, and no glob or /pattern/ of one`);
    return type;
  });
}

function readVerify(value: unknown, { path, error }: BelongingsPlace): Record<string, string | boolean> {
  const at = [...path, "verify"];
  const fields = fieldsOf(value, VERIFY_KEYS, { path: at, error });
  const policy: Record<string, string | boolean> = {};
  for (const key of VERIFY_KEYS) {
    const one = fields[key];
    if (one === undefined) continue;
    const type = key === "transparencyLog" ? "boolean" : "string";
    if (typeof one !== type || one === "") throw error([...at, key], `expected a ${type}`);
    policy[key] = one as string | boolean;
  }
  if (Object.keys(policy).length === 0) {
    throw error(at, 'it needs a "key", or an "issuer" and an "identity"');
  }
  return policy;
}

function fieldsOf(
  value: unknown,
  keys: readonly string[],
  { path, error }: BelongingsPlace,
): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw error(path, `expected an object with ${keys.map((key) => `"${key}"`).join(", ")}`);
  }
  const unknown = Object.keys(value).find((key) => !keys.includes(key));
  // What was meant to narrow must not be passed over.
  if (unknown !== undefined) throw error([...path, unknown], `there is no such key, only ${keys.join(", ")}`);
  return { ...value };
}
