/**
 * Runs the official conformance suite of the OCI distribution-spec against the test registry, on loopback.
 * Needs Go and its module proxy; `deno task conformance`.
 */

import { createRegistry, type RegistryOptions, serve } from "./registry.ts";

/** The suite, as a Go program at a fixed version. */
const SUITE = "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111";

/** One run of the suite. */
interface Run {
  name: string;
  options: RegistryOptions;
  settings: Record<string, string>;
}

/** Settings of the suite that ask for more than its defaults, the same in every run. */
const SETTINGS: Readonly<Record<string, string>> = {
  OCI_TLS: "disabled",
  OCI_REPO1: "conformance/one",
  OCI_REPO2: "conformance/two",
  OCI_API_BLOBS_DIGEST_HEADER: "true",
  OCI_API_MANIFESTS_DIGEST_HEADER: "true",
  OCI_API_BLOBS_UPLOAD_CANCEL: "true",
  OCI_API_MANIFESTS_TAG_PARAM: "true",
};

const RUNS: readonly Run[] = [
  { name: "as it comes", options: {}, settings: { OCI_DATA_SPARSE: "false" } },
  {
    name: "with sparse indexes and anonymous mounts",
    options: { allowSparse: true, allowMissingBlobs: true, quirks: { mountWithoutFromStatus: 201 } },
    settings: { OCI_DATA_SPARSE: "true" },
  },
  {
    name: "with absolute locations and upload state",
    options: { quirks: { locationAbsolute: true, uploadState: true } },
    settings: { OCI_DATA_SPARSE: "false" },
  },
  {
    name: "with tokens",
    options: { auth: { type: "bearer", users: { tester: { password: "secret" } } } },
    settings: { OCI_DATA_SPARSE: "false", OCI_USERNAME: "tester", OCI_PASSWORD: "secret" },
  },
];

async function installSuite(directory: string): Promise<string> {
  const { success } = await runGo(directory).catch((error: unknown) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error("Cannot run the conformance suite: Go is not installed (https://go.dev/dl)", {
      cause: error,
    });
  });
  if (!success) throw new Error(`Cannot run the conformance suite: "go install ${SUITE}" failed`);
  return `${directory}/conformance`;
}

// A missing program makes Deno.Command throw at once, hence the async function round it.
async function runGo(directory: string): Promise<Deno.CommandStatus> {
  const args = ["install", SUITE];
  return await new Deno.Command("go", { args, env: { GOBIN: directory }, stdout: "null" }).spawn().status;
}

/** Runs the suite once; whether it found nothing wrong. */
async function runSuite(program: string, directory: string, run: Run): Promise<boolean> {
  await using server = serve(createRegistry(run.options));
  const env = {
    ...SETTINGS,
    ...run.settings,
    OCI_REGISTRY: server.host,
    OCI_RESULTS_DIR: `${directory}/results`,
  };
  const output = await new Deno.Command(program, { env, cwd: directory }).output();
  const text = new TextDecoder().decode(output.stdout);
  // The program also ends with 0 when it could not start its tests.
  const passed = output.success && /^OCI Conformance Result: Pass$/m.test(text);
  if (!passed) console.error(new TextDecoder().decode(output.stderr));
  console.log(`The registry ${run.name}: ${passed ? "pass" : "FAIL"}\n${summaryOf(text)}`);
  return passed;
}

/** The suite's totals and what it skipped or found wrong, without the lists of what passed. */
function summaryOf(text: string): string {
  const lines = text.slice(Math.max(0, text.indexOf("OCI Conformance Result:"))).split("\n").slice(1);
  return lines.filter((line) => /: +\d+$|: +(FAIL|Error|Skip)$/.test(line)).join("\n");
}

async function runAll(): Promise<boolean> {
  const directory = await Deno.makeTempDir();
  try {
    const program = await installSuite(directory);
    const failed: string[] = [];
    for (const run of RUNS) if (!await runSuite(program, directory, run)) failed.push(run.name);
    if (failed.length > 0) throw new Error(`The registry does not conform: ${failed.join("; ")}`);
    return true;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return false;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

if (import.meta.main) Deno.exit(await runAll() ? 0 : 1);
