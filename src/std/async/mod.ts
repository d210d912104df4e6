/**
 * The helpers for promises this project uses, under the names of `@std/async`.
 *
 * @module
 */

export * from "./abortable.ts";
export * from "./deadline.ts";
export * from "./delay.ts";
export * from "./retry.ts";
