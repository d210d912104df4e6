/** The storage host a test registry redirects blob downloads to, which must never see credentials. */

import { serveBlob } from "./blobs.ts";
import { parseRoute } from "./route.ts";
import { createEntry, type RequestEntry } from "./request_log.ts";
import { Refusal } from "./refusal.ts";
import { createFetch, type Fetch, type Handler } from "./socketless_fetch.ts";
import type { RegistryState } from "./state.ts";

/** One request as the storage host saw it. */
export interface BlobHostEntry extends RequestEntry {
  /** The whole Authorization header that arrived, which should be none. */
  authorizationHeader: string | null;
  /** The Cookie header that arrived, which should be none. */
  cookieHeader: string | null;
}

/** A storage host. */
export interface BlobHost {
  /** For `Deno.serve`, `serve` and `createNetwork`. */
  handler: Handler;
  /** For a client without sockets. */
  fetch: Fetch;
  /** What arrived. */
  requests: BlobHostEntry[];
}

/** A storage host that serves the blobs of a registry under `/cdn/DIGEST`, with ranges. */
export function createBlobHost(registry: { state: RegistryState }): BlobHost {
  const requests: BlobHostEntry[] = [];
  const handler: Handler = (request) => {
    const entry: BlobHostEntry = {
      ...createEntry(request, { kind: "blob", repository: "" }),
      authorizationHeader: request.headers.get("authorization"),
      cookieHeader: request.headers.get("cookie"),
    };
    requests.push(entry);
    const response = answer(registry.state, request, entry);
    entry.status = response.status;
    return response;
  };
  return { handler, fetch: createFetch(() => handler), requests };
}

function answer(state: RegistryState, request: Request, entry: BlobHostEntry): Response {
  const url = new URL(request.url);
  const blob = state.blobs.get(decodeURIComponent(url.pathname.replace(/^\/cdn\//, "")));
  if (blob === undefined) return new Refusal(404, "NOT_FOUND", "no such object").toResponse(request.method);
  // Storage services refuse signed URLs that come with a second way of authentication.
  if (entry.authorizationHeader !== null) {
    return new Refusal(400, "DENIED", "only one auth mechanism allowed").toResponse(request.method);
  }
  const route = parseRoute(url.pathname);
  try {
    return serveBlob(
      {
        request,
        url,
        route,
        entry,
        state,
        options: {},
        quirks: {},
        hold: () => () => {},
        canPull: () => true,
      },
      blob,
    );
  } catch (error) {
    if (error instanceof Refusal) return error.toResponse(request.method);
    throw error;
  }
}
