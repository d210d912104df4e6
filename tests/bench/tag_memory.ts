/**
 * What is kept of each of very many unchanged tags that a repository lists in one page: bytes on the heap after a collection.
 * Answers are made here, without a socket. Needs `--v8-flags=--expose-gc`; the first argument is how many; prints JSON.
 */

import { mirror } from "../../src/mirror/run.ts";
import { Registries } from "../../src/registry/registries.ts";

/** What was measured. */
export interface TagMemory {
  /** Bytes that are kept of a tag, the report's part included. */
  bytes: number;
  /** How many were found unchanged. */
  unchanged: number;
}

function answer(url: URL, list: string): Response {
  const { pathname, searchParams } = url;
  if (pathname === "/v2/") return new Response("{}");
  const name = pathname.split("/").at(-1) ?? "";
  if (pathname.includes("/referrers/") || name.startsWith("sha256-")) {
    return new Response(null, { status: 404 });
  }
  if (name === "list") return new Response(searchParams.has("last") ? '{"tags":[]}' : list);
  return new Response(null, {
    headers: {
      "docker-content-digest": `sha256:${Number(name.split(".")[1]).toString(16).padStart(64, "0")}`,
      "content-type": "application/vnd.oci.image.manifest.v1+json",
      "content-length": "500",
    },
  });
}

function inUse(): number {
  (globalThis as unknown as { gc: () => void }).gc();
  return Deno.memoryUsage().heapUsed;
}

/** Looks at so many tags that are the same on both sides. */
async function measure(count: number): Promise<TagMemory> {
  const tags = Array.from({ length: count }, (_, index) => `v1.${index}.0`);
  const list = JSON.stringify({ name: "a/b", tags });
  const registries = new Registries({
    fetchFor: () => (input) => Promise.resolve(answer(new URL(String(input)), list)),
  });
  const before = inUse();
  const report = await mirror([{ source: "s.test/a/b", destinations: ["d.test/a/b"] }], { registries });
  const bytes = Math.round((inUse() - before) / count);
  return { bytes, unchanged: report.totals.unchanged };
}

/** Measures in a process of its own. */
export async function measureTagMemory(count: number): Promise<TagMemory> {
  const args = ["run", "-A", "--no-check", "--v8-flags=--expose-gc", import.meta.url, String(count)];
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  const text = new TextDecoder().decode(stdout);
  if (text === "") throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(text);
}

if (import.meta.main) console.log(JSON.stringify(await measure(Number(Deno.args[0]))));
