/** An in-memory registry in a process of its own: first argument JSON, first line its host, each line then its counts. */

import { TextLineStream } from "@std/streams/text-line-stream";
import { createRegistry, serve } from "../registry.ts";
import { pushImage } from "../images.ts";
import { manyTags } from "./inputs.ts";

/** What the registry is told. */
export interface MemoryRegistrySettings {
  /** How many tags of `manyTags` it has from the start. */
  tags: number;
}

/** What the registry has counted. */
export interface MemoryRegistryCounts {
  /** Requests by `METHOD kind`. */
  requests: Record<string, number>;
}

if (import.meta.main) {
  const settings: MemoryRegistrySettings = JSON.parse(Deno.args[0] ?? "");
  const registry = createRegistry();
  for (const { repository, tag, image } of manyTags(settings.tags)) {
    pushImage(registry, repository, tag, image);
  }
  const server = serve(registry);
  console.log(JSON.stringify({ host: server.host }));
  const texts = Deno.stdin.readable.pipeThrough(
    new TextDecoderStream() as TransformStream<Uint8Array, string>,
  );
  for await (const _line of texts.pipeThrough(new TextLineStream())) {
    const requests: Record<string, number> = {};
    for (const { method, kind } of registry.requests) {
      requests[`${method} ${kind}`] = (requests[`${method} ${kind}`] ?? 0) + 1;
    }
    registry.resetLog();
    console.log(JSON.stringify({ requests }));
  }
  Deno.exit(0);
}
