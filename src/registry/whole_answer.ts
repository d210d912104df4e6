/** Step 2 of the walk, the wire: an answer that is read to its end before anybody looks at it. */

import { describeFailure } from "./network_failure.ts";
import { readBytes } from "./stream/read_body.ts";
import type { Registry } from "./registry.ts";
import { RegistryError } from "./registry_error.ts";
import type { RegistryRequest } from "./request.ts";

/** An answer with all of its body. */
export interface WholeAnswer {
  /** Status and headers; the body is read. */
  response: Response;
  /** The body. */
  bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Sends a request and reads the answer to its end; one that breaks off is asked for again, as often as any request.
 *
 * @param limit Bytes the body may have.
 * @throws {RegistryError} when the registry refuses, breaks off every time, or answers with more bytes than that.
 */
export async function fetchWhole(
  registry: Registry,
  request: RegistryRequest,
  limit: number,
): Promise<WholeAnswer> {
  for (let attempt = 1;; attempt++) {
    const response = await registry.send(request);
    try {
      return { response, bytes: await read(registry, { request, response, limit }) };
    } catch (error) {
      const isFinal = attempt >= (request.attempts ?? registry.context.limits.attempts);
      if (!(error instanceof RegistryError) || error.isPermanent || isFinal) throw error;
      await registry.backOff(request, error, attempt);
    }
  }
}

async function read(
  registry: Registry,
  { request, response, limit }: { request: RegistryRequest; response: Response; limit: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const { action, method, signal = registry.context.signal } = request;
  try {
    return await readBytes(response, limit, registry.context.limits.stall, signal);
  } catch (cause) {
    signal?.throwIfAborted();
    const url = registry.url;
    const isPermanent = cause instanceof RangeError;
    const why = isPermanent ? `it is larger than ${limit} bytes` : describeFailure(cause, url);
    throw new RegistryError({ action, method, url: url.href, status: 0, why, isPermanent, cause });
  }
}
