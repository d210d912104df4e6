/** Step 3 of the walk, the config: what an ocync config says, in our words. */

import type { TagSelection } from "../rules/selection.ts";
import {
  type Conversion,
  type ConvertedRule,
  countOf,
  type Fields,
  fieldsOf,
  isTrue,
  listOf,
  textsOf,
} from "./conversion.ts";

/** What ocync leaves out unless it is told (its documentation, "Default-exclude patterns"). */
const LEFT_OUT: readonly string[] = ["*-rc*", "*-alpha*", "*-beta*", "*-pre*", "*-snapshot*", "*-nightly*"];

/** Adds all mappings of an ocync config. */
export function convertOcync(config: Fields, conversion: Conversion): void {
  const { registries, target_groups: groups, defaults, mappings, ...rest } = config;
  conversion.noteKeys("the config", rest, []);
  const hosts = new Map<string, string>();
  for (const [name, value] of Object.entries(fieldsOf(registries))) {
    const { url, credentials, token, ...more } = fieldsOf(value);
    const host = String(url).replace(/^https?:\/\//, "").replace(/\/+$/, "");
    hosts.set(name, host);
    conversion.addLogin(host, { ...fieldsOf(credentials), token, insecure: /^http:/.test(String(url)) });
    conversion.noteKeys(`registry "${name}"`, more, ["auth_type"]);
  }
  const hostOf = (name: unknown) => hosts.get(String(name)) ?? String(name);
  const targetsOf = (targets: unknown) => {
    const names = typeof targets === "string" ? fieldsOf(groups)[targets] ?? [targets] : targets;
    return textsOf(names).map(hostOf);
  };
  for (const { from, to, ...own } of listOf(mappings)) {
    const { source, targets, ...rule } = { ...fieldsOf(defaults), ...own };
    const name = `${hostOf(source)}/${from}`;
    const base = { to: targetsOf(targets).map((host) => `${host}/${to ?? from}`) };
    addMapping({ name, base, fields: rule }, conversion);
  }
}

function addMapping(
  { name, base, fields }: { name: string; base: ConvertedRule; fields: Fields },
  conversion: Conversion,
): void {
  const { tags, platforms, artifacts, ...rest } = fields;
  conversion.noteKeys(`mapping "${name}"`, rest, []);
  const rule: ConvertedRule = { ...base };
  if (platforms !== undefined) rule.platforms = textsOf(platforms);
  const { enabled, include, exclude, require_artifacts: required } = fieldsOf(artifacts);
  if (enabled !== undefined && !isTrue(enabled)) rule.referrers = false;
  else if (include !== undefined || exclude !== undefined) {
    rule.referrers = {
      ...(include === undefined ? {} : { include: textsOf(include) }),
      ...(exclude === undefined ? {} : { exclude: textsOf(exclude) }),
    };
  }
  if (isTrue(required)) {
    conversion.note(
      `"require_artifacts" of "${name}" is not carried over; name the types in "referrers": { "require": [] }`,
    );
  }
  conversion.addRule(name, { ...rule, tags: selectionOf(name, fieldsOf(tags), conversion) });
  // What is always included is a rule of its own: no other filter is asked.
  const always = textsOf(fieldsOf(tags).include);
  if (always.length === 0) return;
  const left = textsOf(fieldsOf(tags).exclude);
  conversion.addRule(name, {
    ...rule,
    tags: { include: always, ...(left.length === 0 ? {} : { exclude: left }) },
  });
}

/** Keys of its tag filters. */
const TAG_KEYS: readonly string[] = [
  "include",
  "glob",
  "semver",
  "semver_prerelease",
  "exclude",
  "sort",
  "latest",
  "min_tags",
  "immutable_tags",
];

function selectionOf(name: string, tags: Fields, conversion: Conversion): TagSelection {
  conversion.noteKeys(`tags of "${name}"`, tags, TAG_KEYS);
  const selection: TagSelection = {};
  if (tags.glob !== undefined) selection.include = textsOf(tags.glob);
  selection.exclude = [...textsOf(tags.exclude), ...LEFT_OUT];
  const { semver, immutable_tags: fixed } = tags;
  if (semver !== undefined) selection.semver = String(semver).replace(/\s*,\s*/g, " ");
  if (tags.semver_prerelease === "include" && semver !== undefined) selection.prereleases = true;
  if (fixed !== undefined) selection.immutable = textsOf(fixed);
  const newest = countOf(tags.latest);
  if (newest !== undefined) {
    Object.assign(selection, { newest, by: tags.sort === "alpha" ? "name" : "version" });
  }
  const atLeast = countOf(tags.min_tags);
  if (atLeast !== undefined) selection.atLeast = atLeast;
  if (semver !== undefined || selection.by === "version") {
    conversion.note(
      `Versions of "${name}" with a suffix such as -alpine are left out unless "variant" names it`,
    );
  }
  return selection;
}
