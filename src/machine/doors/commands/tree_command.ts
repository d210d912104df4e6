/** `image-syncer tree`: what belongs to an image at a registry, in whichever way it is held there. */

import { Belongings, ignoreMissing } from "../../../mirror/plan/belongings.ts";
import { artifactTypeOf, type Belonging } from "../../../mirror/rules/belongings_policy.ts";
import { messageOf } from "../../../mirror/plan/failure.ts";
import { MemoryStore } from "../../../mirror/store/memory_store.ts";
import type { Descriptor, Digest, Platform } from "../../../oci/descriptor.ts";
import { childrenOf, mayBeBlob } from "../../../oci/manifest.ts";
import { formatReference, parseReference } from "../../../oci/reference.ts";
import { Registries } from "../../../registry/registries.ts";
import type { Repository } from "../../../registry/repository/repository.ts";
import {
  type Command,
  type CommandCall,
  type CommandParts,
  EXIT,
  LIMIT_FLAGS,
  openRegistries,
  readFlaggedConfig,
  withParts,
} from "../command_setup.ts";

/** `image-syncer tree`. */
export const COMMAND: Command = {
  usage: ["tree REFERENCE [flags]"],
  help:
    `Prints what belongs to an image and to each of its platforms: referrers by the API or the fallback tag, cosign's
tags, and what belongs to those in turn.`,
  flags: ["auth", "log", "log-format", ...LIMIT_FLAGS],
  words: [1],
  run: (call: CommandCall) => withParts(call, printTree),
};

async function printTree(parts: CommandParts): Promise<number> {
  const { flags, words: [word = ""], screen, log, signal } = parts;
  const reference = parseReference(word);
  const config = await readFlaggedConfig({ flags, words: [word, word] });
  const opened = openRegistries(config, parts);
  try {
    const registries = new Registries({ ...opened.options, signal });
    const onWarning = (message: string) => log.write("warn", message);
    const belongings = new Belongings({ registries, store: new MemoryStore(), every: 0, onWarning });
    const repository = registries.open(reference, "pull");
    const name = reference.digest ?? reference.tag ?? "latest";
    const lines = await treeLines(repository, name, belongings);
    for (const line of [formatReference(reference), ...lines]) screen.out(line);
    return EXIT.done;
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    screen.err(messageOf(error));
    return EXIT.failed;
  } finally {
    opened.close();
  }
}

/** Something in the tree, and what hangs on it. */
interface Branch {
  label: string;
  branches: Branch[];
}

/**
 * The tree of an image, a line for each thing.
 *
 * @param name A tag or a digest.
 * @throws {RegistryError} when it is not there, or the registry refuses.
 */
export async function treeLines(
  repository: Repository,
  name: string,
  belongings: Belongings,
): Promise<string[]> {
  const { signal } = repository.registry.context;
  const root = await repository.getManifest(name, { signal });
  const children = childrenOf(root).manifests.filter((child) => !mayBeBlob(child));
  const read = (descriptor: Descriptor) => repository.getChild(descriptor, signal).catch(ignoreMissing);
  const digests = [root.descriptor, ...children].map(({ digest }) => digest);
  const bySubject = new Map<Digest, Belonging[]>();
  for (const one of await belongings.find(repository, digests, read)) {
    bySubject.set(one.subject, [...bySubject.get(one.subject) ?? [], one]);
  }
  const hang = (digest: Digest, above: readonly Digest[]): Branch[] => {
    // Referrers that point at each other go round.
    if (above.includes(digest)) return [];
    return (bySubject.get(digest) ?? []).map((one) => ({
      label: labelOf(one),
      branches: hang(one.descriptor.digest, [...above, digest]),
    }));
  };
  const platforms = children.map(({ platform, digest }): Branch => ({
    label: `${platform === undefined ? "child" : platformText(platform)}  ${digest}`,
    branches: hang(digest, []),
  }));
  const { digest, mediaType } = root.descriptor;
  const whole = { label: `${mediaType}  ${digest}`, branches: [...hang(digest, []), ...platforms] };
  return draw([whole], "");
}

function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter((part) => part !== undefined).join("/");
}

function labelOf(one: Belonging): string {
  const { descriptor: { digest }, tag } = one;
  return `${artifactTypeOf(one)}  ${digest}${tag === undefined ? "" : `  (tag ${tag})`}`;
}

function draw(branches: readonly Branch[], indent: string): string[] {
  return branches.flatMap(({ label, branches: below }, place) => {
    const isLast = place === branches.length - 1;
    return [
      `${indent}${isLast ? "└── " : "├── "}${label}`,
      ...draw(below, `${indent}${isLast ? "    " : "│   "}`),
    ];
  });
}
