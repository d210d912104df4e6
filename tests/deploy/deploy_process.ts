/** The program as Deno Deploy starts it: a fresh process, no flags but its permissions, its database on disk. */

/** A running program. */
export interface DeployProcess {
  /** Origin of its site. */
  url: string;
  /** The process. */
  child: Deno.ChildProcess;
  /** What it has said on standard error so far. */
  said: () => string;
  /** Waits until it has ended. */
  ended: Promise<Deno.CommandStatus>;
}

/** Starts the program with environment values, and waits until it serves. */
export async function startDeploy(environment: Record<string, string>): Promise<DeployProcess> {
  const script = new URL("../../src/deno/deploy.ts", import.meta.url).href;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-all", script],
    env: { DENO_SERVE_ADDRESS: "tcp:127.0.0.1:0", DENO_NO_UPDATE_CHECK: "1", ...environment },
    stdout: "null",
    stderr: "piped",
  }).spawn();
  let text = "";
  const url = Promise.withResolvers<string>();
  const reading = (async () => {
    for await (const part of child.stderr.pipeThrough(new TextDecoderStream())) {
      text += part;
      const [found] = /http:\/\/127\.0\.0\.1:\d+/.exec(text) ?? [];
      if (found !== undefined) url.resolve(found);
    }
  })();
  const ended = Promise.all([child.status, reading]).then(([status]) => {
    url.reject(new Error(`Cannot start: ${text}`));
    return status;
  });
  return { url: await url.promise, child, said: () => text, ended };
}
