/**
 * JSON with comments, under the names of `@std/jsonc`.
 *
 * @module
 */

export * from "./parse.ts";
