/** Step 6 of the walk, the copy: what failed, on which side, and whether trying again can help. */

import { DigestError } from "../../oci/descriptor.ts";
import { ManifestError } from "../../oci/manifest.ts";
import { PlatformError } from "../../oci/platform.ts";
import { InvalidReferenceError } from "../../oci/reference.ts";
import { AuthError, RegistryError } from "../../registry/registry_error.ts";
import type { Retry } from "../../registry/retry.ts";
import { FallbackTagError, RefusedImageError } from "../rules/belongings_policy.ts";
import { NamePatternError } from "../rules/name_pattern.ts";
import { RuleError } from "../rules/rules.ts";
import { SelectionError } from "../rules/selection.ts";

/** What is wrong in itself: no registry can mend it. */
const HOPELESS = [
  InvalidReferenceError,
  PlatformError,
  RuleError,
  NamePatternError,
  SelectionError,
  RefusedImageError,
  FallbackTagError,
];
/** What a registry said wrong: it is asked once more, and believed when it says so again. */
const DOUBTFUL = [AuthError, DigestError, ManifestError];

/** When it makes sense to try again after a failure of any kind. */
export function retryOf(error: unknown): Retry {
  if (error instanceof RegistryError) return error.retry;
  if (HOPELESS.some((type) => error instanceof type)) return "never";
  return DOUBTFUL.some((type) => error instanceof type) ? "once" : "soon";
}

/**
 * Whether another pass cannot help.
 *
 * @param pass Passes that were made before over what had failed.
 */
export function isPermanent(error: unknown, pass = 0): boolean {
  const retry = retryOf(error);
  return retry === "never" || retry === "once" && pass > 0;
}

/** Whether the same thing may be tried again at once, rather than in another pass. */
export function mayTrySoon(error: unknown): boolean {
  return retryOf(error) === "soon";
}

/** What to tell a person about a failure: its own sentence, which holds no secret. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Any thrown value as an error. */
export function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}

/**
 * Whether a registry has refused to move a tag that never changes there. All of them name the word: ECR in a TAG_INVALID ("because
 * the tag is immutable", image tag mutability), Harbor in a 412 ("configured as immutable", immutability rules), Quay in a 409.
 */
export function isTagKept(error: unknown): boolean {
  const isRefusal = error instanceof RegistryError && error.method === "PUT";
  return isRefusal && [400, 403, 405, 409, 412].includes(error.status) && /immutable/i.test(error.message);
}
