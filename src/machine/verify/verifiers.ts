/** The checks of signatures that rules ask for, made when they are first needed: what makes them is large. */

import { type Rule, SetupError } from "../../mirror/config/config.ts";
import type { CreateVerifier, VerifyImage } from "../../mirror/plan/verification.ts";
import type { SignaturePolicy } from "./signature_policy.ts";

/** A way to checks of signatures that makes each once. */
export function createVerifiers(): CreateVerifier {
  const made = new Map<string, Promise<VerifyImage>>();
  return (policy) => {
    const key = JSON.stringify(policy);
    const known = made.get(key);
    if (known !== undefined) return known;
    const making = import("./image_verifier.ts").then(({ createImageVerifier }) =>
      createImageVerifier(policy as SignaturePolicy)
    );
    made.set(key, making);
    return making;
  };
}

/**
 * Makes the checks of all rules, so that what is wrong with one is known before anything moves.
 *
 * @throws {SetupError} naming the rule, when a key, a trusted root or a demand cannot be used.
 */
export async function prepareVerifiers(
  rules: readonly Rule[],
  createVerifier: CreateVerifier,
): Promise<void> {
  for (const { source, line, referrers } of rules) {
    const verify = referrers === false ? undefined : referrers?.verify;
    if (verify === undefined) continue;
    try {
      await createVerifier(verify);
    } catch (cause) {
      const on = line === undefined ? "" : ` (line ${line})`;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new SetupError(`Cannot use the rule "${source}"${on}: ${why}`, { cause });
    }
  }
}
