/** What the machine says when a file or a program cannot be had, told apart on every runtime. */

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
