/** A repository of some 400 tags in the shapes that postgres, node and nginx have at Docker Hub, and when their images were made. */

const DAY = 86_400_000;

/** The moment at which the tests look, in milliseconds since 1970. */
export const NOW: number = Date.UTC(2026, 10, 25);

function postgres(): string[] {
  const tags = ["latest", "alpine", "bookworm", "trixie"];
  for (const major of [13, 14, 15, 16, 17]) {
    for (const suffix of ["", "-alpine", "-alpine3.21", "-bookworm"]) {
      tags.push(`${major}${suffix}`);
      for (let minor = 0; minor < 8; minor++) tags.push(`${major}.${minor}${suffix}`);
    }
  }
  return [...tags, "18beta1", "18beta2", "18rc1", "18rc1-alpine", "18beta2-bookworm"];
}

function node(): string[] {
  const tags = ["lts", "lts-alpine", "current", "iron", "jod", "slim"];
  for (const major of [18, 20, 22]) {
    for (const suffix of ["", "-slim", "-alpine3.20", "-bookworm-slim"]) {
      for (const minor of [0, 1, 9, 10]) {
        for (const patch of [0, 1]) tags.push(`v${major}.${minor}.${patch}${suffix}`);
      }
    }
  }
  return [...tags, "v23.0.0-rc.1", "v23.0.0-rc.2", "v23.0.0-nightly20260901", "v22.11.0-pre.1"];
}

function nginx(): string[] {
  const tags = ["stable", "mainline", "mainline-perl", "perl", "1", "1-alpine"];
  for (const minor of [26, 27, 28]) {
    for (const suffix of ["", "-perl", "-otel", "-alpine-slim", "-alpine-otel"]) {
      tags.push(`1.${minor}${suffix}`);
      for (let patch = 0; patch < 5; patch++) tags.push(`1.${minor}.${patch}${suffix}`);
    }
  }
  return [...tags, "1.27perl", "1.2.3.4", "2026-11-01", "20261101", "main-3f2a9c1", "edge", "nightly"];
}

/** What belongs to images of the repository, as cosign and registries without referrers API name it. */
export const BELONGINGS: readonly string[] = ["", ".sig", ".att", ".sbom"].map((end) =>
  `sha256-${"ab".repeat(32)}${end}`
);

/** All of them, in the order of their names, as registries list them. */
export const TAGS: readonly string[] = [...new Set([...postgres(), ...node(), ...nginx(), ...BELONGINGS])]
  .sort();

/** When a tag's image was made: each a day before the one that is listed after it; `undefined` for some that do not say. */
export function createdOf(tag: string): number | undefined {
  if (tag.startsWith("nightly")) return undefined;
  return NOW - (TAGS.length - TAGS.indexOf(digestOf(tag))) * DAY;
}

/** What a tag stands for: a tag of a major version is the same image as its newest minor one. */
export function digestOf(tag: string): string {
  const whole = /^(1[3-7])(-.+)?$/.exec(tag);
  return whole === null ? tag : `${whole[1]}.7${whole[2] ?? ""}`;
}
