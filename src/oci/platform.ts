/** Step 1 of the walk, the words: platforms as users select them. */

import type { Platform } from "./descriptor.ts";

/** A selection of platforms such as `linux/amd64`, `linux/arm/v7`, `linux/*` or `*\/arm64`. */
export interface PlatformSelector {
  /** Operating system; any when left out. */
  os?: string;
  /** CPU architecture; any when left out. */
  architecture?: string;
  /** CPU variant; any when left out. */
  variant?: string;
}

/** A text does not select a platform. */
export class PlatformError extends SyntaxError {
  /** Quotes the text. */
  constructor(text: string) {
    super(`Cannot parse platform "${text}": expected os/architecture or os/architecture/variant`);
    this.name = "PlatformError";
  }
}

/**
 * Parses `os/architecture[/variant]`, where `*` stands for any.
 *
 * @throws {PlatformError} when it is something else.
 */
export function parsePlatformSelector(text: string): PlatformSelector {
  const parts = text.trim().toLowerCase().split("/");
  const isWord = (part: string) => /^(?:\*|[a-z0-9][a-z0-9._-]*)$/.test(part);
  if (parts.length < 2 || parts.length > 3 || !parts.every(isWord)) throw new PlatformError(text);
  const [os, architecture, variant] = parts;
  const selector: PlatformSelector = {};
  if (os !== undefined && os !== "*") selector.os = os;
  if (architecture !== undefined && architecture !== "*") selector.architecture = architecture;
  if (variant !== undefined && variant !== "*") selector.variant = variant;
  return selector;
}

/** What an architecture without a variant is taken for (containerd and Docker normalize alike). */
const DEFAULT_VARIANTS: Record<string, string> = { arm: "v7", arm64: "v8" };

/** Whether a platform is among those selected. */
export function matchesPlatform(platform: Platform, selectors: readonly PlatformSelector[]): boolean {
  const variant = platform.variant ?? DEFAULT_VARIANTS[platform.architecture];
  return selectors.some((selector) =>
    (selector.os === undefined || selector.os === platform.os) &&
    (selector.architecture === undefined || selector.architecture === platform.architecture) &&
    (selector.variant === undefined || selector.variant === variant)
  );
}

/**
 * The selections that image-syncer's `--os` and `--arch` flags make: every system with every architecture, either of
 * which is any when nothing is named; `arm:v7` names a variant.
 *
 * @throws {PlatformError} when a name is malformed.
 */
export function platformsOf(systems: readonly string[], architectures: readonly string[]): string[] {
  const [oss, archs] = [systems, architectures].map((names) => names.filter((name) => name !== ""));
  if (oss === undefined || archs === undefined || oss.length + archs.length === 0) return [];
  const platforms = (oss.length === 0 ? ["*"] : oss).flatMap((os) =>
    (archs.length === 0 ? ["*"] : archs).map((architecture) => `${os}/${architecture.replace(":", "/")}`)
  );
  for (const platform of platforms) parsePlatformSelector(platform);
  return platforms;
}
