/** Step 6 of the walk, the copy: what failed, on which side, and whether trying again can help. */

import { DigestError } from "../../oci/descriptor.ts";
import { ManifestError } from "../../oci/manifest.ts";
import { PlatformError } from "../../oci/platform.ts";
import { InvalidReferenceError } from "../../oci/reference.ts";
import { AuthError, RegistryError } from "../../registry/registry_error.ts";
import { RuleError } from "./rules.ts";

/** Whether trying again cannot help: the registry refused for good, or what it served is wrong. */
export function isPermanent(error: unknown): boolean {
  if (error instanceof RegistryError) return error.isPermanent;
  return [AuthError, DigestError, InvalidReferenceError, ManifestError, PlatformError, RuleError].some((
    type,
  ) => error instanceof type);
}

/** What to tell a person about a failure: its own sentence, which holds no secret. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Any thrown value as an error. */
export function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}
