/** A reverse proxy before a real registry that notes each request; nobody else's log is needed to count them. */

import { serve } from "../registry/serve.ts";
import {
  createEntry,
  matchesFilter,
  type RequestEntry,
  type RequestFilter,
} from "../registry/request_log.ts";
import { parseRoute } from "../registry/route.ts";
import type { RegistryProcess } from "./registry_process.ts";

/** The proxy under way. */
export interface RecordingProxy extends AsyncDisposable {
  /** `127.0.0.1:PORT`, as the registry part of a reference. */
  readonly host: string;
  /** Every request in the order of arrival. */
  readonly requests: RequestEntry[];
  /** How many requests match. */
  count(filter: RequestFilter): number;
}

/** Starts a proxy before a registry without TLS. */
export function startRecordingProxy(registry: RegistryProcess): RecordingProxy {
  const requests: RequestEntry[] = [];
  const server = serve(async (request) => {
    const url = new URL(request.url);
    const entry = createEntry(request, parseRoute(url.pathname));
    requests.push(entry);
    const response = await forward(registry, request, url);
    entry.status = response.status;
    return response;
  });
  return {
    host: server.host,
    requests,
    count: (filter) => requests.filter((entry) => matchesFilter(entry, filter)).length,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

async function forward(registry: RegistryProcess, request: Request, url: URL): Promise<Response> {
  const headers = new Headers(request.headers);
  // distribution makes absolute Locations of this, so that uploads come through here too.
  headers.set("x-forwarded-host", url.host);
  headers.delete("host");
  const response = await registry.fetch(`${registry.url}${url.pathname}${url.search}`, {
    method: request.method,
    headers,
    body: request.body,
    redirect: "manual",
  });
  return new Response(response.body, { status: response.status, headers: response.headers });
}
