/** What a tag costs in memory: a repository may have 300,000 of them, in one page. Exact enough for a limit, because garbage is collected first. */

import { assert, assertEquals } from "@std/assert";

const TAGS = 30_000;
/** Bytes that may be kept of a tag that is unchanged, the report's part included. */
const LIMIT = 1000;

const SCRIPT = `
import { mirror } from ${JSON.stringify(import.meta.resolve("../src/mirror/run.ts"))};
import { Registries } from ${JSON.stringify(import.meta.resolve("../src/registry/registries.ts"))};
const count = Number(Deno.args[0]);
const tags = Array.from({ length: count }, (_, index) => "v1." + index + ".0");
const list = JSON.stringify({ name: "a/b", tags });
const headersOf = (tag) => ({
  "docker-content-digest": "sha256:" + Number(tag.split(".")[1]).toString(16).padStart(64, "0"),
  "content-type": "application/vnd.oci.image.manifest.v1+json",
  "content-length": "500",
});
const answer = (url) => {
  const { pathname, searchParams } = new URL(url);
  if (pathname === "/v2/") return new Response("{}");
  if (pathname.includes("/referrers/")) return new Response(null, { status: 404 });
  const name = pathname.split("/").at(-1);
  if (pathname.includes("/referrers/") || name.startsWith("sha256-")) return new Response(null, { status: 404 });
  if (name !== "list") return new Response(null, { headers: headersOf(name) });
  return new Response(searchParams.has("last") ? '{"tags":[]}' : list);
};
const registries = new Registries({ fetchFor: () => (url) => Promise.resolve(answer(url)) });
gc();
const before = Deno.memoryUsage().heapUsed;
const report = await mirror([{ source: "s.test/a/b", destinations: ["d.test/a/b"] }], { registries });
gc();
console.log(JSON.stringify({ used: Deno.memoryUsage().heapUsed - before, totals: report.totals }));
`;

Deno.test("fault 45: mirror() keeps less than 1 kB of each of very many tags in one page", async () => {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(script, SCRIPT);
    const config = new URL("../deno.json", import.meta.url).pathname;
    const args = ["run", "-A", "--no-check", "--quiet", "--v8-flags=--expose-gc", "--config", config, script];
    const command = new Deno.Command(Deno.execPath(), { args: [...args, String(TAGS)] });
    const { stdout, stderr } = await command.output();
    const text = new TextDecoder().decode(stdout);
    assert(text !== "", new TextDecoder().decode(stderr));
    const { used, totals }: { used: number; totals: { unchanged: number } } = JSON.parse(text);
    assertEquals(totals.unchanged, TAGS);
    assert(used < TAGS * LIMIT, `${Math.round(used / TAGS)} bytes a tag`);
  } finally {
    await Deno.remove(script);
  }
});
