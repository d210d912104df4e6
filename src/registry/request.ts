/** Step 2 of the walk, the wire: what a request to a registry is made of, and what may be decided about all of them. */

import type { DigestOf } from "../oci/descriptor.ts";
import type { Clock } from "./clock.ts";
import type { Fetch } from "./fetch.ts";
import type { Challenge } from "./login/challenge.ts";
import type { CredentialSource } from "./login/credential.ts";
import type { UploadBody } from "./stream/body.ts";
import type { BufferPool } from "./stream/buffer_pool.ts";

/** Limits on time (milliseconds) and on attempts. No limit is on total time: big layers take as long as they take. */
export interface Limits {
  /**
   * Until a registry answers for the first time. `fetch` does not tell connecting from waiting, so this is the limit on
   * the first request alone, which finds out whether anybody is there.
   */
  connect: number;
  /** That the first contact with a registry may take in all, tries and waits together. */
  contact: number;
  /** Until the headers of an answer are there. */
  headers: number;
  /** Until the answer that commits an upload is there, counted from its last byte. */
  commit: number;
  /** Without a byte moving. */
  stall: number;
  /** Bytes a second that a body must give at least. */
  rate: number;
  /** Over which the rate of a small body is measured. */
  window: number;
  /** Over which the rate of a blob of 1 MiB and more is measured. */
  blobWindow: number;
  /** Attempts a request gets in all. */
  attempts: number;
  /** The longest wait that a registry's `Retry-After` is followed for; a longer one fails the request. */
  retryAfter: number;
}

/** The limits unless told otherwise. */
export const DEFAULT_LIMITS: Limits = {
  connect: 10_000,
  contact: 30_000,
  headers: 30_000,
  commit: 300_000,
  stall: 30_000,
  rate: 1024,
  window: 20_000,
  blobWindow: 60_000,
  attempts: 6,
  retryAfter: 300_000,
};

/** Remembers what registries ask for between runs. */
export interface ChallengeMemory {
  /** What a registry asked for last, if that is known. */
  get(registry: string): Promise<Challenge | undefined>;
  /** Remembers what a registry asks for. */
  set(registry: string, challenge: Challenge): Promise<void>;
  /** Forgets what a registry asked for, because it does not work any more. */
  delete?(registry: string): Promise<void>;
}

/** Something about the wire that a watcher may want to know. */
export type RegistryEvent =
  | { type: "request-retried"; registry: string; action: string; reason: string; wait: number }
  | { type: "waiting"; registry: string; reason: string; wait: number; attempt: number; attempts: number }
  | { type: "rate-limited"; registry: string; until: number }
  | { type: "warning"; message: string };

/** What all requests of a run share. */
export interface RequestContext {
  /** Clock and dice. */
  readonly clock: Clock;
  /** Limits on time and attempts. */
  readonly limits: Limits;
  /** Memory that answers are read into. */
  readonly buffers: BufferPool;
  /** Finds the digest of a manifest. */
  readonly digestOf: DigestOf;
  /** Ends everything. */
  readonly signal: AbortSignal | undefined;
  /** Tells whoever watches. */
  readonly emit: (event: RegistryEvent) => void;
}

/** What `Registries` are made of; every part has a default. */
export interface RegistriesOptions {
  /** The fetch that reaches a registry (for example with its own certificates); `globalThis.fetch` unless told. */
  fetchFor?: (registry: string) => Fetch;
  /** Whether a registry may be reached with an untrusted certificate or without TLS; no unless told. */
  isInsecure?: (registry: string) => boolean;
  /** Where credentials come from; everything is anonymous without it. */
  credentials?: CredentialSource | undefined;
  /** Lists the repositories of an owner where a registry itself does not; `undefined` where that is not known how. */
  listOwned?: (place: {
    /** Canonical registry. */
    registry: string;
    /** Who owns the repositories: the first part of their names. */
    owner: string;
    /** Root of the registry, as it was reached. */
    origin: string;
    /** Asks an API, as often as a registry is asked; rejects with a `RegistryError` where it refuses. */
    ask: (
      url: string,
      request: { method?: "POST"; headers: Record<string, string>; body?: Uint8Array<ArrayBuffer> },
    ) => Promise<{ headers: Headers; text: string }>;
    /** Says, in a sentence, what the list lacks. */
    warn: (message: string) => void;
  }) => Promise<string[][] | undefined>;
  /** What registries asked for in earlier runs, so that they need not be asked again. */
  challenges?: ChallengeMemory | undefined;
  /** Finds the digest of manifests and small blobs; WebCrypto unless told, which takes longer than all else about a small one. */
  digestOf?: DigestOf;
  /** Clock and dice. */
  clock?: Clock;
  /** Ends everything. */
  signal?: AbortSignal | undefined;
  /** Limits that differ from {@linkcode DEFAULT_LIMITS}. */
  limits?: Partial<Limits>;
  /** Called with what happens on the wire. */
  onEvent?: ((event: RegistryEvent) => void) | undefined;
}

/** Where the repositories of an owner are to be listed, and how a vendor's API is asked for them. */
export type ListingPlace = Parameters<NonNullable<RegistriesOptions["listOwned"]>>[0];

/** One request to a registry. */
export interface RegistryRequest {
  /** What is being done, for messages: `push manifest "sha256:…" to "ghcr.io/acme/nginx:1.27"`. */
  action: string;
  /** Repository whose credential is used. */
  repository: string;
  /** Scopes a token must have. */
  scopes: readonly string[];
  /** Method. */
  method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path below the registry's origin with its query, or an absolute URL that the registry gave. */
  path: string;
  /** Statuses that are an answer; any other is an error. */
  expect: readonly number[];
  /** Headers besides `Authorization`. */
  headers?: Record<string, string>;
  /** Body in memory, sent again when the request is. */
  body?: Uint8Array<ArrayBuffer>;
  /** Streamed body; such a request is sent once and holds no place at the gate. */
  upload?: UploadBody;
  /** Bytes that the body of the answer will have, where that is known. */
  size?: number;
  /** Attempts, where they differ from the limit (a caller that retries by itself says 1). */
  attempts?: number;
  /** Milliseconds until the headers must be there, where they differ from the limit. */
  time?: number;
  /** Ends this request. */
  signal?: AbortSignal | undefined;
}
