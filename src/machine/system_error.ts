/** What the machine says when a file or a program cannot be had, told apart on every runtime. */

import { messageOf } from "../mirror/plan/failure.ts";

/** Why something of the machine cannot be had. */
export type SystemFault = "missing" | "directory" | "denied" | "read-only" | "not-allowed";

/** By the codes of POSIX, and by the names that Deno's own errors have. */
const FAULTS: Readonly<Record<string, SystemFault>> = {
  ENOENT: "missing",
  NotFound: "missing",
  EISDIR: "directory",
  IsADirectory: "directory",
  EACCES: "denied",
  EPERM: "denied",
  PermissionDenied: "denied",
  EROFS: "read-only",
  NotCapable: "not-allowed",
};

/** Why something cannot be had; `undefined` for what is none of the usual reasons. */
export function faultOf(error: unknown): SystemFault | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return FAULTS[error.name] ?? FAULTS[code];
}

/** Why a file cannot be written, for a person. */
export function whyNotWritten(cause: unknown): string {
  const fault = faultOf(cause);
  if (fault === "missing") return "there is no such directory";
  if (fault === "directory") return "it is a directory";
  if (fault === "denied") return "permission denied";
  if (fault === "read-only") return "it is on a disk that is read only";
  return fault === "not-allowed" ? "writing it is not allowed; add it to --allow-write" : messageOf(cause);
}

/** Why a file cannot be read, for a person. */
export function whyNotRead(cause: unknown): string {
  const fault = faultOf(cause);
  if (fault === "missing") return "there is no such file";
  if (fault === "directory") return "it is a directory";
  if (fault === "denied") return "it may not be read";
  return fault === "not-allowed" ? "it may not be read; add it to --allow-read" : messageOf(cause);
}
