/** The programs that tests against real registries need: whether they are there, and what it means when they are not. */

/** Programs a test may need, by what Debian calls their package too. */
export type Binary = "docker-registry" | "skopeo" | "openssl";

const isMissing = new Map<Binary, boolean>();

/**
 * Registers a test that needs programs. Without them it is skipped, with a line on standard error that names them, and in
 * its own name too, since `deno test --quiet` keeps such lines to itself. Where `CI` is set it fails instead, so that
 * nobody mistakes a skip for a pass.
 */
export function realTest(name: string, binaries: readonly Binary[], run: () => Promise<void>): void {
  const missing = binaries.filter(lacks).join(" and ");
  if (missing === "") return Deno.test(name, run);
  const isCi = (Deno.env.get("CI") ?? "") !== "";
  const title = `${name} (${isCi ? "FAILS" : "SKIPPED"} for lack of ${missing})`;
  console.error(title);
  Deno.test({
    name: title,
    ignore: !isCi,
    fn: () => {
      throw new Error(`Cannot run this test: not installed: ${missing}`);
    },
  });
}

function lacks(binary: Binary): boolean {
  const known = isMissing.get(binary) ?? !isInstalled(binary);
  isMissing.set(binary, known);
  return known;
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
