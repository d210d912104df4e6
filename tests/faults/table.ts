/** Prints the fault table as Markdown: what each tool on PATH makes of each fault, at what price. `deno task faults`. */

import type { Fault, FaultRule } from "../fault_proxy.ts";
import { blobsOf, buildImage, buildIndex, buildLayer, type Image } from "../images.ts";
import { installedTools, runTool, type Tool } from "./tools.ts";
import {
  bytesOf,
  fill,
  holdingOf,
  type LabRegistry,
  openMemoryRegistry,
  openRealRegistry,
} from "./workbench.ts";

/** One line of the table: each URL at one side fails once. */
interface Row {
  /** What goes wrong. */
  name: string;
  /** Where. */
  side: "source" | "destination";
  /** What the proxy does; nothing goes wrong without it. */
  fault?: Fault;
  /** Which requests it strikes; all unless told. */
  only?: "downloads" | "uploads";
}

/** Bytes of a layer. */
const LAYER = 3_530_000;
const A_SECOND = { "retry-after": "1" };

const ROWS: readonly Row[] = [
  { name: "no fault", side: "source" },
  {
    name: "source closes (EOF) mid-layer",
    side: "source",
    fault: { type: "close", at: "answer-body" },
    only: "downloads",
  },
  {
    name: "source resets (RST) mid-layer",
    side: "source",
    fault: { type: "reset", at: "answer-body" },
    only: "downloads",
  },
  { name: "source resets before headers", side: "source", fault: { type: "reset", at: "request-head" } },
  { name: "source 503 once per URL", side: "source", fault: { type: "answer", status: 503 } },
  { name: "source 500 once per URL", side: "source", fault: { type: "answer", status: 500 } },
  {
    name: "source 429 + Retry-After: 1",
    side: "source",
    fault: { type: "answer", status: 429, headers: A_SECOND },
  },
  { name: "destination 503 once per URL", side: "destination", fault: { type: "answer", status: 503 } },
  {
    name: "destination 429 + Retry-After: 1",
    side: "destination",
    fault: { type: "answer", status: 429, headers: A_SECOND },
  },
  {
    name: "destination resets (RST) mid-upload",
    side: "destination",
    fault: { type: "reset", at: "request-body" },
    only: "uploads",
  },
  {
    name: "destination closes (EOF) mid-upload",
    side: "destination",
    fault: { type: "close", at: "request-body" },
    only: "uploads",
  },
  {
    name: "destination 503 mid-upload",
    side: "destination",
    fault: { type: "answer", status: 503, at: "request-body" },
    only: "uploads",
  },
  {
    name: "destination's answers lost once per URL",
    side: "destination",
    fault: { type: "reset", at: "answer-head" },
  },
];

/** Four platforms with two shared layers and one of their own each: 21.2 MB, as in the measurements of peers. */
function tableImage(): Image {
  const shared = [buildLayer(1, LAYER), buildLayer(2, LAYER)];
  const images = ["amd64", "arm64", "ppc64le", "s390x"].map((architecture, index) =>
    buildImage({
      platform: { os: "linux", architecture },
      layers: [...shared, buildLayer(10 + index, LAYER)],
    })
  );
  return buildIndex(images);
}

function ruleOf({ fault, only }: Row, image: Image): FaultRule[] {
  if (fault === undefined) return [];
  if (only === undefined) return [{ fault, isPerUrl: true }];
  if (only === "downloads") {
    return [{ fault, isPerUrl: true, matches: ({ kind, method }) => kind === "blob" && method === "GET" }];
  }
  // As many uploads as there are blobs: those that tools begin anew are let through.
  const urls = blobsOf(image).size;
  return [{
    fault,
    isPerUrl: true,
    urls,
    matches: ({ kind, method, length = 1 }) => kind === "upload" && method !== "POST" && length > 0,
  }];
}

/** What one tool makes of one fault, as a cell of the table. */
async function cellOf(tool: Tool, row: Row, image: Image): Promise<string> {
  const open = await hasRealRegistry() ? openRealRegistry : openMemoryRegistry;
  await using source: LabRegistry = await open();
  await using destination: LabRegistry = await open();
  await fill(source, "app", image);
  (row.side === "source" ? source : destination).proxy.setPlan(ruleOf(row, image));
  const directory = await Deno.makeTempDir({ prefix: "fault-table-" });
  try {
    const job = {
      source: `${source.proxy.host}/app:v1`,
      destination: `${destination.proxy.host}/app:v1`,
      directory,
    };
    const { outcome, time, words } = await runTool(tool, job);
    const holding = await holdingOf(destination, "app", image).catch(() => "something else");
    const seconds = `${(time / 1000).toFixed(1)} s`;
    if (outcome === "ok" && holding === "whole") return `ok / ${extra(source, image)} / ${seconds}`;
    console.error(`${tool.name}, ${row.name}: ${outcome}, ${holding} at the destination\n${words}\n`);
    return `**${outcome === "ok" ? "WRONG" : outcome}** (${seconds})`;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Blob bytes that the source served more than once. */
function extra({ proxy }: LabRegistry, image: Image): string {
  const bytes = proxy.traffic.of("blob").served - bytesOf(image);
  return bytes === 0 ? "0" : `${(bytes / 1e6).toFixed(2)} MB`;
}

async function hasRealRegistry(): Promise<boolean> {
  try {
    const { success } = await new Deno.Command("docker-registry", { args: ["--version"] }).output();
    return success;
  } catch {
    return false;
  }
}

async function main(): Promise<void> {
  const image = tableImage();
  const tools = installedTools();
  console.log(
    `Each URL fails once; ${(bytesOf(image) / 1e6).toFixed(1)} MB in ${image.children.length} platforms; ` +
      `cells: ok / extra source bytes / seconds.\n`,
  );
  console.log(`| fault | ${tools.map(({ name }) => name).join(" | ")} |`);
  console.log(`| --- | ${tools.map(() => "---").join(" | ")} |`);
  for (const row of ROWS) {
    const cells: string[] = [];
    for (const tool of tools) cells.push(await cellOf(tool, row, image));
    console.log(`| ${row.name} | ${cells.join(" | ")} |`);
  }
}

if (import.meta.main) await main();
