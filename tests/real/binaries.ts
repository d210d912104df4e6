/** The programs that tests against real registries need: whether they are there, and what it means when they are not. */

/** Programs a test may need, by what Debian calls their package too. */
export type Binary = "docker-registry" | "skopeo" | "openssl";

const isMissing = new Map<Binary, boolean>();

/**
 * Registers a test that needs programs. Without them it is skipped, with a line on standard error that names them; where
 * `CI` is set it fails instead, so that nobody mistakes a skip for a pass.
 */
export function realTest(name: string, binaries: readonly Binary[], run: () => Promise<void>): void {
  const missing = binaries.filter(lacks);
  const isCi = (Deno.env.get("CI") ?? "") !== "";
  if (missing.length > 0) console.error(`SKIPPED for lack of ${missing.join(" and ")}: ${name}`);
  Deno.test({
    name,
    ignore: missing.length > 0 && !isCi,
    fn: async () => {
      if (missing.length > 0) {
        throw new Error(`Cannot run this test: ${missing.join(" and ")} is not installed`);
      }
      await run();
    },
  });
}

function lacks(binary: Binary): boolean {
  const known = isMissing.get(binary);
  if (known !== undefined) return known;
  const found = !isInstalled(binary);
  isMissing.set(binary, found);
  return found;
}

function isInstalled(binary: Binary): boolean {
  const argument = binary === "openssl" ? "version" : "--version";
  try {
    return new Deno.Command(binary, { args: [argument], stdout: "null", stderr: "null" }).outputSync()
      .success;
  } catch {
    return false;
  }
}
