/** Credentials that a helper program keeps (the protocol of docker-credential-helpers), each asked for once. */

import type { Credential } from "../../registry/login/credential.ts";
import { printable } from "../../oci/printable.ts";
import { faultOf } from "../system_error.ts";
import { CredentialError } from "./auth_file.ts";
import { HelperLimitError, type HelperResult, type RunHelper } from "./helper_process.ts";

/** The name Docker keeps Docker Hub under in a helper. */
const DOCKER_HUB_SERVER = "https://index.docker.io/v1/";

/** The server a helper is asked for: a registry, or Docker Hub's old URL for `docker.io`. */
export function helperServer(registry: string): string {
  return registry === "docker.io" ? DOCKER_HUB_SERVER : registry;
}

/** Options of {@linkcode CredentialHelpers}. */
export interface CredentialHelpersOptions {
  /** Runs the program. */
  run: RunHelper;
  /** Told, in a sentence, that programs may not be run. */
  onWarning: (message: string) => void;
}

/** Asks helpers; every answer and every failure holds for the run, and a question is asked once, however many wait for it. */
export class CredentialHelpers {
  #options: CredentialHelpersOptions;
  #answers = new Map<string, Promise<Credential | undefined>>();

  /** Nothing runs before {@linkcode get}. */
  constructor(options: CredentialHelpersOptions) {
    this.#options = options;
  }

  /**
   * What a helper has for a server.
   *
   * @param name Name of the helper without `docker-credential-`.
   * @param server For example `ghcr.io`, as {@linkcode helperServer} gives it.
   * @returns `undefined` when it has nothing, or may not be run.
   * @throws {CredentialError} when it cannot be run, fails, or answers with something else than a credential.
   */
  get(name: string, server: string): Promise<Credential | undefined> {
    const key = `${name} ${server}`;
    let answer = this.#answers.get(key);
    if (answer === undefined) {
      answer = this.#ask(name, server);
      this.#answers.set(key, answer);
    }
    return answer;
  }

  async #ask(name: string, server: string): Promise<Credential | undefined> {
    const what = `Cannot get the credential of "${server}" from helper "${printable(name)}"`;
    // The name becomes part of a program's name: nothing that leads to another directory.
    if (!/^[A-Za-z0-9._-]+$/.test(name)) throw new CredentialError(`${what}: that is not a helper's name`);
    let result: HelperResult;
    try {
      result = await this.#options.run(name, server);
    } catch (cause) {
      if (faultOf(cause) !== "not-allowed") {
        throw new CredentialError(`${what}: ${whyNotRun(name, cause)}`, { cause });
      }
      const program = `docker-credential-${name}`;
      this.#options.onWarning(`Cannot run "${program}": it is not allowed (--allow-run); going on without`);
      return undefined;
    }
    return readResult(result, what);
  }
}

function whyNotRun(name: string, cause: unknown): string {
  if (faultOf(cause) === "missing") return `there is no program "docker-credential-${name}"`;
  if (cause instanceof HelperLimitError) return cause.message;
  return `"docker-credential-${name}" cannot be run`;
}

function readResult({ code, output }: HelperResult, what: string): Credential | undefined {
  if (code !== 0) {
    if (/credentials not found/i.test(output)) return undefined;
    const said = harmlessLine(output);
    throw new CredentialError(`${what}: it ended with exit code ${code}${said === "" ? "" : `: ${said}`}`);
  }
  const { Username: username, Secret: secret } = parseAnswer(output, what);
  if (typeof username !== "string" || typeof secret !== "string") {
    throw new CredentialError(`${what}: its answer has no Username and Secret`);
  }
  if (username === "" && secret === "") return undefined;
  return username === "<token>" ? { identityToken: secret } : { username, password: secret };
}

function parseAnswer(output: string, what: string): { Username?: unknown; Secret?: unknown } {
  try {
    return Object(JSON.parse(output));
  } catch {
    // No cause: the parser's message quotes the output, which may hold a secret.
    throw new CredentialError(`${what}: its answer is not JSON`);
  }
}

/** The first line of what a failing helper said, or nothing where that might hold a secret. */
function harmlessLine(output: string): string {
  const line = printable(output.trim().split("\n", 1)[0] ?? "");
  const isSuspicious = line.length > 200 || /[{}]|secret|passw|[A-Za-z0-9+/=_-]{24}/i.test(line);
  return isSuspicious ? "" : line;
}
