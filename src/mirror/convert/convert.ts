/** Step 3 of the walk, the config: turns configs of regsync, skopeo sync, dregsy and ocync into ours. */

import type { TagSelection } from "../rules/selection.ts";
import {
  Conversion,
  ConversionError,
  type Converted,
  type ConvertedRule,
  countOf,
  type Fields,
  fieldsOf,
  isTrue,
  listOf,
  textsOf,
  wholePattern,
} from "./conversion.ts";
import { convertOcync } from "./ocync.ts";

/** What a config does not say itself. */
export interface ConvertOptions {
  /** Registry, or namespace of one, that skopeo was told to sync to. */
  to?: string | undefined;
}

/**
 * Turns the config of another tool into ours. Pure: nothing is read, no registry is asked.
 *
 * @param value The config, parsed.
 * @throws {ConversionError} when it is of none of these tools.
 */
export function convertConfig(value: unknown, { to }: ConvertOptions = {}): Converted {
  const fields = fieldsOf(value);
  const conversion = new Conversion();
  if (Array.isArray(fields.sync)) convertRegsync(fields, conversion);
  else if (Array.isArray(fields.tasks)) convertDregsy(fields, conversion);
  else if (Array.isArray(fields.mappings)) convertOcync(fields, conversion);
  else if (Object.values(fields).some((one) => isSkopeo(fieldsOf(one)))) {
    convertSkopeo(fields, to, conversion);
  } else throw new ConversionError("it is none of regsync, skopeo sync, dregsy and ocync");
  return conversion.finish();
}

function convertRegsync({ creds, defaults, sync, ...rest }: Fields, conversion: Conversion): void {
  conversion.noteKeys("the config", rest, ["version", "x-"]);
  for (const { registry, user, pass, tls, ...more } of listOf(creds)) {
    const insecure = tls === "disabled" || tls === "insecure";
    conversion.addLogin(String(registry), { username: user, password: pass, insecure });
    conversion.noteKeys(`the login of "${registry}"`, more, []);
  }
  const usual = fieldsOf(defaults);
  conversion.noteKeys("defaults", usual, ["platforms", "platform"]);
  if (usual.interval !== undefined || usual.schedule !== undefined) {
    conversion.note('When to run is said to "image-syncer serve" with --schedule');
  }
  for (const entry of listOf(sync)) {
    convertRegsyncEntry({ ...pick(usual, ["platforms", "platform"]), ...entry }, conversion);
  }
}

function convertRegsyncEntry(entry: Fields, conversion: Conversion): void {
  const { source, target, type, tags, platform, platforms, ...rest } = entry;
  const name = `"${source}"`;
  conversion.noteKeys(name, rest, ["digestTags", "referrers", "fastCopy", "forceRecursive"]);
  if (type === "registry") {
    return conversion.note(`${name} is a whole registry; name its repositories, one rule each`);
  }
  const rule: ConvertedRule = { to: [String(target)] };
  const wanted = textsOf(platforms ?? platform);
  if (wanted.length > 0) rule.platforms = wanted;
  const { allow, deny, semverRange, ...more } = fieldsOf(tags);
  conversion.noteKeys(`tags of ${name}`, more, []);
  const selection: TagSelection = {};
  if (allow !== undefined) selection.include = textsOf(allow).map(wholePattern);
  if (deny !== undefined) selection.exclude = textsOf(deny).map(wholePattern);
  if (semverRange !== undefined) selection.semver = textsOf(semverRange).join(" || ");
  if (Object.keys(selection).length > 0) rule.tags = selection;
  conversion.addRule(String(source), rule);
}

const SKOPEO_KEYS: readonly string[] = ["images", "images-by-tag-regex", "images-by-semver"];

function isSkopeo(registry: Fields): boolean {
  return SKOPEO_KEYS.some((key) => typeof registry[key] === "object");
}

/** skopeo keeps the last part of a name alone, unless it was told `--scoped`. */
function convertSkopeo(registries: Fields, to: string | undefined, conversion: Conversion): void {
  if (to === undefined) {
    throw new ConversionError("skopeo's config does not say where to; give --to REGISTRY/NAMESPACE");
  }
  for (const [registry, value] of Object.entries(registries)) {
    const { credentials, images, ...rest } = fieldsOf(value);
    const insecure = rest["tls-verify"] !== undefined && !isTrue(rest["tls-verify"]);
    conversion.addLogin(registry, { ...fieldsOf(credentials), insecure });
    conversion.noteKeys(`"${registry}"`, rest, ["tls-verify", "images-by-tag-regex", "images-by-semver"]);
    const add = (name: string, suffix: string, tags?: TagSelection) => {
      const last = name.slice(name.lastIndexOf("/") + 1);
      const rule: ConvertedRule = { to: [`${to.replace(/\/+$/, "")}/${last}`] };
      conversion.addRule(`${registry}/${name}${suffix}`, tags === undefined ? rule : { ...rule, tags });
    };
    for (const [name, list] of Object.entries(fieldsOf(images))) {
      const all = textsOf(list);
      const tags = all.filter((tag) => !tag.includes(":"));
      if (all.length === 0) add(name, "");
      if (tags.length > 0) add(name, `:${tags.join(",")}`);
      for (const digest of all.filter((tag) => tag.includes(":"))) add(name, `@${digest}`);
    }
    for (const [name, pattern] of Object.entries(fieldsOf(rest["images-by-tag-regex"]))) {
      add(name, `:/${pattern}/`);
    }
    for (const [name, range] of Object.entries(fieldsOf(rest["images-by-semver"]))) {
      add(name, "", { semver: String(range) });
    }
  }
  conversion.note(
    "Names lose all but their last part, as without --scoped; with it, write the registry into each destination",
  );
}

function convertDregsy({ tasks, ...rest }: Fields, conversion: Conversion): void {
  conversion.noteKeys("the config", rest, ["relay", "watch", "skopeo", "docker"]);
  for (const { name, source, target, mappings, interval, ...more } of listOf(tasks)) {
    const task = `task "${name}"`;
    conversion.noteKeys(task, more, ["verbose"]);
    if (countOf(interval) !== undefined) {
      conversion.note('When to run is said to "image-syncer serve" with --schedule');
    }
    const [from, to] = [
      addDregsyPlace(fieldsOf(source), conversion),
      addDregsyPlace(fieldsOf(target), conversion),
    ];
    for (const mapping of listOf(mappings)) convertMapping(mapping, { task, from, to }, conversion);
  }
}

function addDregsyPlace(place: Fields, conversion: Conversion): string {
  const { registry, auth, ...rest } = place;
  const name = String(registry);
  conversion.addLogin(name, { ...readAuth(auth), insecure: isTrue(rest["skip-tls-verify"]) });
  conversion.noteKeys(`"${name}"`, rest, ["skip-tls-verify"]);
  return name;
}

/** Base64 of a JSON object with both, as `docker pull` over the API takes it. */
function readAuth(auth: unknown): Fields {
  try {
    const { username, password } = fieldsOf(JSON.parse(atob(String(auth))));
    return { username, password };
  } catch {
    return {};
  }
}

function convertMapping(
  { from, to, tags, platform, ...rest }: Fields,
  place: { task: string; from: string; to: string },
  conversion: Conversion,
): void {
  const [source, target] = [String(from).replace(/^\/+/, ""), String(to ?? from).replace(/^\/+/, "")];
  conversion.noteKeys(`mapping "${from}" of ${place.task}`, rest, []);
  if (/^regex:/.test(source) || /^regex:/.test(target)) {
    return conversion.note(
      `Mapping "${from}" of ${place.task} is a pattern; name its repositories, one rule each`,
    );
  }
  const plain: string[] = [];
  const base: ConvertedRule = { to: [`${place.to}/${target}`] };
  if (platform !== undefined && platform !== "all") base.platforms = [String(platform)];
  const name = `${place.from}/${source}`;
  for (const tag of textsOf(tags)) {
    const [, kind = "", rest = ""] = /^\s*(semver|regex|keep)\s*:\s*(.*)$/.exec(tag) ?? [];
    if (kind === "semver") conversion.addRule(name, { ...base, tags: { semver: rest } });
    else if (kind === "regex") conversion.addRule(name, { ...base, tags: { include: [`/${rest}/`] } });
    else if (kind === "keep") conversion.note(`"${tag}" of mapping "${from}" is not carried over`);
    else plain.push(tag);
  }
  if (plain.length > 0) conversion.addRule(`${name}:${plain.join(",")}`, base);
  if (textsOf(tags).length === 0) conversion.addRule(name, base);
}

function pick(fields: Fields, keys: readonly string[]): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => keys.includes(key)));
}
