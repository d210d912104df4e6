/** A worker in workerd, the runtime of Cloudflare Workers. */

import { RuntimeProcess } from "./runtime_process.ts";

/** A worker that listens. */
export interface Worker extends AsyncDisposable {
  /** Its process. */
  readonly process: RuntimeProcess;
  /** Origin it is reached at. */
  readonly url: string;
}

/** A file of a worker, and the name it is imported by. */
export interface WorkerModule {
  /** Name in imports. */
  name: string;
  /** File in the worker's folder. */
  file: string;
}

/**
 * Starts a worker whose first module is the one that answers requests. It has no compatibility flags, and reaches loopback only.
 *
 * @param bindings Texts in its `env` by name.
 */
export async function startWorker(
  program: string,
  directory: string,
  { modules, bindings = {} }: { modules: readonly WorkerModule[]; bindings?: Record<string, string> },
): Promise<Worker> {
  const config = `${directory}/config.capnp`;
  await Deno.writeTextFile(config, configOf(modules, bindings));
  // workerd tells the port it was given on the descriptor that it is told to.
  const args = ["serve", config, "--socket-addr=http=127.0.0.1:0", "--control-fd=1"];
  const process = new RuntimeProcess([program, ...args]);
  try {
    const { port } = JSON.parse(await process.readLine());
    const url = `http://127.0.0.1:${port}`;
    return { process, url, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
  } catch (error) {
    await process[Symbol.asyncDispose]();
    throw error;
  }
}

function configOf(modules: readonly WorkerModule[], bindings: Record<string, string>): string {
  const files = modules.map(({ name, file }) => `(name = "${name}", esModule = embed "${file}")`);
  const texts = Object.entries(bindings).map(([name, text]) =>
    `(name = "${name}", text = ${JSON.stringify(text)})`
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "loopback", network = (allow = ["local", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [${files.join(", ")}],
  bindings = [${texts.join(", ")}],
  compatibilityDate = "2026-10-01",
  globalOutbound = "loopback",
);
`;
}
