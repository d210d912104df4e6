/** The suite in a runtime of its own, which takes jobs and tells what has become of them. */

import type { Bundle } from "./bundle.ts";
import { RuntimeProcess } from "./runtime_process.ts";
import type { Job, JobResult } from "./suite.ts";
import { startWorker } from "./workerd.ts";

/** A runtime with the suite in it. */
export interface Client extends AsyncDisposable {
  /** Its process. */
  readonly process: RuntimeProcess;
  /** Has a job done. */
  run(job: Job): Promise<JobResult>;
}

/** A job on each line of the input, its result on a line of the output; hashing is the machine's. */
const LINE_PROGRAM = `import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import { runJob } from "./suite.js";

function createHasher(algorithm) {
  const hash = createHash(algorithm);
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest("hex") };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await runJob(JSON.parse(line), createHasher)));
}
`;

/** A job is the body of a request, its result that of the answer. */
const WORKER_PROGRAM = `import { runJob } from "./suite.js";

export default {
  async fetch(request) {
    return Response.json(await runJob(await request.json()));
  },
};
`;

/** Starts a runtime that has standard input and output (Deno, Node, Bun). */
export async function startLineClient(command: readonly string[], { directory }: Bundle): Promise<Client> {
  const path = `${directory}/line_program.mjs`;
  await Deno.writeTextFile(path, LINE_PROGRAM);
  const process = new RuntimeProcess([...command, path]);
  return {
    process,
    async run(job) {
      await process.writeLine(JSON.stringify(job));
      return JSON.parse(await process.readLine());
    },
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** Starts workerd with the suite as a worker. */
export async function startWorkerClient(program: string, { directory, files }: Bundle): Promise<Client> {
  await Deno.writeTextFile(`${directory}/worker_program.js`, WORKER_PROGRAM);
  const modules = ["worker_program.js", ...files].map((file) => ({ name: file, file }));
  const worker = await startWorker(program, directory, { modules });
  return {
    process: worker.process,
    async run(job) {
      const response = await fetch(worker.url, { method: "POST", body: JSON.stringify(job) });
      if (response.ok) return await response.json();
      throw new Error(`Cannot run the suite in workerd: ${await response.text()}`);
    },
    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
  };
}
