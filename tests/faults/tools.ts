/** This tool and its peers as programs, each asked for the same copy in its own words. */

/** What is to be copied, as `127.0.0.1:PORT/name:tag`. */
export interface CopyJob {
  /** Where it is. */
  source: string;
  /** Where it goes. */
  destination: string;
  /** A folder for files, removed afterwards. */
  directory: string;
}

/** A program that copies images. */
export interface Tool {
  /** Head of its column. */
  name: string;
  /** The program, as found on PATH. */
  program: string;
  /** Its arguments; files it needs are written to the folder. */
  prepare: (job: CopyJob) => Promise<string[]>;
}

/** How a program ended. */
export interface ToolResult {
  /** `ok`, `FAIL`, or `HUNG` when it had to be stopped. */
  outcome: "ok" | "FAIL" | "HUNG";
  /** How long it took, in milliseconds. */
  time: number;
  /** The end of what it said. */
  words: string;
}

const CLI = new URL("../../cli.ts", import.meta.url).href;

function hostsOf({ source, destination }: CopyJob): string[] {
  return [source, destination].map((reference) => reference.split("/")[0] ?? "");
}

async function writeJson(path: string, value: unknown): Promise<string> {
  await Deno.writeTextFile(path, JSON.stringify(value));
  return path;
}

/** The layers here are no real gzip, which skopeo would otherwise compress anew. */
const PLAIN_SKOPEO = [
  "copy",
  "--all",
  "--preserve-digests",
  "--src-tls-verify=false",
  "--dest-tls-verify=false",
];

/** This tool first, then every peer that this file knows. */
export const TOOLS: readonly Tool[] = [
  {
    name: "this tool",
    program: Deno.execPath(),
    prepare: async (job) => {
      const auth = Object.fromEntries(hostsOf(job).map((host) => [host, { insecure: true }]));
      const config = { auth, images: { [job.source]: job.destination } };
      const path = await writeJson(`${job.directory}/config.json`, config);
      return ["run", "-A", "--quiet", CLI, "--config", path, "--records", `${job.directory}/records`];
    },
  },
  {
    name: "skopeo",
    program: "skopeo",
    prepare: ({ source, destination }) =>
      Promise.resolve([...PLAIN_SKOPEO, `docker://${source}`, `docker://${destination}`]),
  },
  {
    name: "skopeo --retry-times 3",
    program: "skopeo",
    prepare: ({ source, destination }) =>
      Promise.resolve([
        ...PLAIN_SKOPEO,
        "--retry-times",
        "3",
        `docker://${source}`,
        `docker://${destination}`,
      ]),
  },
  {
    name: "crane",
    program: "crane",
    prepare: ({ source, destination }) => Promise.resolve(["copy", "--insecure", source, destination]),
  },
  {
    name: "regctl",
    program: "regctl",
    prepare: (job) =>
      Promise.resolve([
        ...hostsOf(job).flatMap((host) => ["--host", `reg=${host},tls=disabled`]),
        "image",
        "copy",
        job.source,
        job.destination,
      ]),
  },
  {
    name: "regsync",
    program: "regsync",
    prepare: async (job) => {
      const creds = hostsOf(job).map((registry) => ({ registry, tls: "disabled" }));
      const sync = [{ source: job.source, target: job.destination, type: "image" }];
      // JSON is a part of YAML.
      return ["once", "-c", await writeJson(`${job.directory}/regsync.yml`, { version: 1, creds, sync })];
    },
  },
  {
    name: "image-syncer",
    program: "image-syncer",
    prepare: async (job) => {
      const auth = Object.fromEntries(hostsOf(job).map((host) => [host, { insecure: true }]));
      return [
        "--auth",
        await writeJson(`${job.directory}/auth.json`, auth),
        "--images",
        await writeJson(`${job.directory}/images.json`, { [job.source]: job.destination }),
        "--retries",
        "2",
      ];
    },
  },
];

/** Those of the tools that are on PATH. */
export function installedTools(): Tool[] {
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  return TOOLS.filter(({ program }) =>
    program.startsWith("/") || folders.some((folder) => isFile(`${folder}/${program}`))
  );
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Milliseconds after which a program counts as hung. */
const HANG = 100_000;

/** Runs a tool to its end, or stops it when it hangs. */
export async function runTool(tool: Tool, job: CopyJob): Promise<ToolResult> {
  const args = await tool.prepare(job);
  const startedAt = performance.now();
  const signal = AbortSignal.timeout(HANG);
  const { code, stdout, stderr } = await new Deno.Command(tool.program, { args, signal }).output();
  const time = performance.now() - startedAt;
  const words = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("\n").trim();
  return { outcome: signal.aborted ? "HUNG" : code === 0 ? "ok" : "FAIL", time, words: words.slice(-500) };
}
