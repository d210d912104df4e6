/** The table of faults: what goes wrong, where, how often, and what has to become of the image. */

import type { Fault, FaultRule, ProxiedRequest } from "../fault_proxy.ts";
import type { Image } from "../images.ts";
import { buildImage, buildIndex, buildLayer } from "../images.ts";

/** Which of the two registries is broken. */
export type Side = "source" | "destination";

/** Which requests are struck: the first to the registry, each URL, or the transfer of blobs in its middle. */
export type Target = "first request" | "each URL" | "mid-blob";

/** How often in a row. */
export type Repeat = "once" | "three times" | "for ever";

/** What has to become of the image. */
export type Outcome = "copied" | "failed" | "either";

/** One fault by name. */
export interface NamedFault {
  /** How people call it. */
  name: string;
  /** What goes wrong. */
  fault: Fault;
  /** Whether only time shows it. */
  isSilent?: boolean;
  /** Whether it is an answer that lies, after which asking again may be wrong: the image may fail, but never be wrong. */
  isLie?: boolean;
}

/** One line of the table. */
export interface FaultCase extends NamedFault {
  /** Which side is broken. */
  side: Side;
  /** Which requests are struck. */
  target: Target;
  /** How often. */
  repeat: Repeat;
  /** What has to become of the image. */
  outcome: Outcome;
}

const HTML = "<html><body>Please log in</body></html>";
const IN_A_SECOND = { "retry-after": "1" };
/** FakeClock starts in November 2023, so this date is two seconds ahead of it. */
const ON_A_DATE = { "retry-after": new Date(1_700_000_002_000).toUTCString() };

/** Faults that strike when a request has come. */
const AT_REQUEST: readonly NamedFault[] = [
  { name: "connection refused", fault: { type: "refuse" } },
  { name: "RST before headers", fault: { type: "reset", at: "request-head" } },
  { name: "FIN before headers", fault: { type: "close", at: "request-head" } },
  { name: "stall before headers", fault: { type: "stall", at: "request-head" }, isSilent: true },
  { name: "RST instead of the answer", fault: { type: "reset", at: "answer-head" } },
  { name: "FIN instead of the answer", fault: { type: "close", at: "answer-head" } },
  { name: "stall instead of the answer", fault: { type: "stall", at: "answer-head" }, isSilent: true },
  ...[408, 500, 502, 503, 504].map((status): NamedFault => ({
    name: `${status}`,
    fault: { type: "answer", status },
  })),
  { name: "429 with seconds", fault: { type: "answer", status: 429, headers: IN_A_SECOND } },
  { name: "429 with a date", fault: { type: "answer", status: 429, headers: ON_A_DATE } },
  { name: "503 with seconds", fault: { type: "answer", status: 503, headers: IN_A_SECOND } },
  { name: "garbage headers", fault: { type: "garbage" } },
  { name: "redirect loop", fault: { type: "redirect-loop" }, isLie: true },
  {
    name: "HTML with status 200",
    fault: { type: "answer", status: 200, headers: { "content-type": "text/html" }, body: HTML },
    isLie: true,
  },
];

/** Faults in the middle of a blob that comes from the source. */
const IN_ANSWER: readonly NamedFault[] = [
  { name: "RST mid-body", fault: { type: "reset", at: "answer-body" } },
  { name: "FIN mid-body", fault: { type: "close", at: "answer-body" } },
  { name: "stall mid-body", fault: { type: "stall", at: "answer-body" }, isSilent: true },
  { name: "short body", fault: { type: "length", by: -10 }, isLie: true },
  { name: "extra bytes", fault: { type: "length", by: 2000 }, isLie: true },
  { name: "wrong bytes", fault: { type: "flip" }, isLie: true },
  { name: "slow drip", fault: { type: "drip", pieces: 8, pause: 10 } },
];

/** Faults in the middle of a blob that goes to the destination. */
const IN_REQUEST: readonly NamedFault[] = [
  { name: "RST mid-upload", fault: { type: "reset", at: "request-body" } },
  { name: "FIN mid-upload", fault: { type: "close", at: "request-body" } },
  { name: "stall mid-upload", fault: { type: "stall", at: "request-body" }, isSilent: true },
  ...[408, 500, 502, 503, 504].map((status): NamedFault => ({
    name: `${status} mid-upload`,
    fault: { type: "answer", status, at: "request-body" },
  })),
  {
    name: "429 mid-upload",
    fault: { type: "answer", status: 429, headers: IN_A_SECOND, at: "request-body" },
  },
];

/** Every fault crossed with side, target and repeat. */
export function allCases(repeats: readonly Repeat[] = ["once", "three times", "for ever"]): FaultCase[] {
  return (["source", "destination"] as const).flatMap((side) =>
    (["first request", "each URL", "mid-blob"] as const).flatMap((target) =>
      faultsFor(side, target).flatMap((fault) =>
        repeats.map((repeat) => ({
          ...fault,
          side,
          target,
          repeat,
          outcome: outcomeOf(fault, target, repeat),
        }))
      )
    )
  );
}

function faultsFor(side: Side, target: Target): readonly NamedFault[] {
  // Manifests have bodies too; at a destination nothing that counts has.
  const inAnswer = side === "source" ? IN_ANSWER.filter(({ isLie }) => !isLie) : [];
  if (target === "each URL") return [...AT_REQUEST, ...inAnswer];
  if (target === "first request") return AT_REQUEST;
  return side === "source" ? IN_ANSWER : IN_REQUEST;
}

function outcomeOf({ fault, isLie }: NamedFault, target: Target, repeat: Repeat): Outcome {
  if (fault.type === "drip") return "copied";
  if (isLie) return "either";
  const strikesContact = target !== "mid-blob";
  // What is not HTTP is believed at once, and silence at the second time: nobody waits for it again.
  if (strikesContact && fault.type === "garbage") return "failed";
  if (strikesContact && fault.type === "stall" && fault.at !== "answer-body" && repeat !== "once") {
    return "failed";
  }
  return repeat === "for ever" ? "failed" : "copied";
}

/** The rule for the proxy before the broken registry. */
export function ruleOf({ fault, side, target, repeat }: FaultCase): FaultRule {
  const times = repeat === "once" ? 1 : repeat === "three times" ? 3 : Infinity;
  if (target === "first request") return { fault, times };
  if (target === "each URL") return { fault, times, isPerUrl: true, urls: fault.type === "refuse" ? 1 : 40 };
  const isUpload = ({ method, kind, length = 1 }: ProxiedRequest) =>
    kind === "upload" && method !== "POST" && length > 0;
  const isDownload = ({ method, kind }: ProxiedRequest) => kind === "blob" && method === "GET";
  // Each blob's upload is struck, but not each new upload of the same blob.
  return {
    fault,
    times,
    isPerUrl: true,
    matches: side === "source" ? isDownload : isUpload,
    ...(times === 1 && side === "destination" && { urls: 4 }),
  };
}

/** An index of two images with a shared layer that is sent as a stream and three that are short. */
export function caseImage(): Image {
  const shared = buildLayer(1, 1_500_000);
  const images = ["amd64", "arm64"].map((architecture, index) =>
    buildImage({ platform: { os: "linux", architecture }, layers: [shared, buildLayer(10 + index, 90_000)] })
  );
  return buildIndex(images);
}
