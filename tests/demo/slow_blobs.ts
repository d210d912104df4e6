/** A brake for a registry on the same machine, so that a person sees blobs on their way. */

import { delay } from "@std/async/delay";
import type { Intercept } from "../registry.ts";

/** Makes an intercept that serves each blob at no more than so many bytes a second. */
export function slowBlobs(bytesPerSecond: number): Intercept {
  return async ({ method }, { kind, next }) => {
    if (method !== "GET" || kind !== "blob") return undefined;
    const response = await next();
    const { status, headers } = response;
    return new Response(response.body?.pipeThrough(createBrake(bytesPerSecond)) ?? null, { status, headers });
  };
}

/** Lets each chunk through when its time has come. */
function createBrake(bytesPerSecond: number): TransformStream<Uint8Array, Uint8Array> {
  const startedAt = performance.now();
  let bytes = 0;
  return new TransformStream({
    transform: async (chunk, controller) => {
      bytes += chunk.length;
      const early = startedAt + bytes * 1000 / bytesPerSecond - performance.now();
      if (early > 0) await delay(early);
      controller.enqueue(chunk);
    },
  });
}
