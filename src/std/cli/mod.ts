/**
 * The reader of command lines this project uses, under the names of `@std/cli`.
 *
 * @module
 */

export * from "./parse_args.ts";
