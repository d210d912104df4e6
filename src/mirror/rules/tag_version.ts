/** Step 4 of the walk, the rules: the version that a tag names, in the form that semver knows. */

/** What a tag says of a version. */
export interface TagVersion {
  /** `major.minor.patch`, with `-prerelease` where there is one, as semver.org writes it. */
  version: string;
  /** What follows it and is no prerelease: `alpine3.20` of `16.2-alpine3.20`; empty when nothing does. */
  variant: string;
}

const TAG = /^v?(\d{1,15})(?:\.(\d{1,15}))?(?:\.(\d{1,15}))?(?:-?((?<=\d)[A-Za-z]|(?<=-)[0-9A-Za-z]).*)?$/;
/** A word that makes a suffix a prerelease; `alpine` begins with an `a` and is none. */
const PRERELEASE = /^(?:alpha|beta|rc|pre|dev|a|b)(?![A-Za-z])/i;

/**
 * Reads the version in a tag: a leading `v` and leading zeros drop, missing parts are 0, and a suffix is a variant unless it
 * begins with `a`, `b`, `alpha`, `beta`, `rc`, `pre` or `dev` (`16beta2` of postgres needs no dash).
 *
 * @returns `undefined` when the tag names no version, as `latest` or `1.2.3.4`.
 * @example
 * ```ts
 * import { parseTagVersion } from "./tag_version.ts";
 *
 * parseTagVersion("v1.02-rc1-alpine"); // { version: "1.2.0-rc1", variant: "alpine" }
 * ```
 */
export function parseTagVersion(tag: string): TagVersion | undefined {
  const match = TAG.exec(tag);
  if (match === null) return undefined;
  const parts = [match[1], match[2], match[3]].map((part) => Number(part ?? 0));
  if (parts.some((part) => !Number.isSafeInteger(part))) return undefined;
  const core = /^v?[\d.]*\d/.exec(tag)?.[0] ?? "";
  const suffix = tag.slice(core.length);
  const isAttached = suffix !== "" && !suffix.startsWith("-");
  const { prerelease, variant } = splitSuffix(suffix.replace(/^-/, ""));
  // Letters right behind the number are a version only as a prerelease: `1.27perl` names something else.
  if (isAttached && prerelease === "") return undefined;
  const version = parts.join(".") + (prerelease === "" ? "" : `-${prerelease}`);
  return { version, variant };
}

/** A prerelease takes the parts that are numbers with it: `dev-20240101-alpine` is `dev-20240101` of `alpine`. */
function splitSuffix(suffix: string): { prerelease: string; variant: string } {
  if (!PRERELEASE.test(suffix)) return { prerelease: "", variant: suffix };
  const parts = suffix.split("-");
  const end = parts.findIndex((part, index) => index > 0 && !/^[\d.]+$/.test(part));
  const words = parts.slice(0, end < 0 ? parts.length : end).join("-").replaceAll("_", "-");
  const identifiers = words.split(".").filter((one) => one !== "");
  const prerelease = identifiers.map((one) => /^\d+$/.test(one) ? String(Number(one)) : one).join(".");
  return { prerelease, variant: end < 0 ? "" : parts.slice(end).join("-") };
}
