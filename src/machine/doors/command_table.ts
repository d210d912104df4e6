/** Every command of the command line, each loaded when it is called. */

import type { Command } from "./command_setup.ts";

/** A command, before it is needed. */
export interface CommandEntry {
  /** What it does, in a few words. */
  summary: string;
  /** Loads it. */
  load: () => Promise<{ COMMAND: Command }>;
}

/** Every command by its words: a new one is one file and one line here. */
export const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  "mirror": {
    summary: "copies what a config says, or one source to one destination; the word may be left out",
    load: () => import("./commands/mirror_command.ts"),
  },
  "serve": {
    summary: "mirrors on a schedule and shows how it goes on a page",
    load: () => import("./commands/serve_command.ts"),
  },
  "auth check": {
    summary: "says who logs in to each repository, and whether that works",
    load: () => import("./commands/auth_check.ts"),
  },
  "plan": {
    summary: "says what would be copied, and what that takes; saves it for apply",
    load: () => import("./commands/plan_command.ts"),
  },
  "apply": {
    summary: "runs a saved plan, exactly that",
    load: () => import("./commands/apply_command.ts"),
  },
  "tree": {
    summary: "prints what belongs to an image at a registry: signatures, SBOMs, attestations",
    load: () => import("./commands/tree_command.ts"),
  },
  "validate": {
    summary: "looks at the whole config without a request",
    load: () => import("./commands/validate_command.ts"),
  },
  "expand": {
    summary: "prints the images that the rules of a config become",
    load: () => import("./commands/expand_command.ts"),
  },
  "convert": {
    summary: "writes a config out of one of regsync, skopeo sync, dregsy or ocync",
    load: () => import("./commands/convert_command.ts"),
  },
  "tags": {
    summary: "prints the tags of a repository that filters leave",
    load: () => import("./commands/tags_command.ts"),
  },
  "completions": {
    summary: "prints what makes a shell complete commands and flags",
    load: () => import("./commands/completions_command.ts"),
  },
  "records": {
    summary: "export and import carry what is remembered from one store to another",
    load: () => import("./commands/records.ts"),
  },
};
