/** What a test can ask of the test registry: how it authenticates, which quirks it has, where it breaks. */

import type { RegistryState } from "./state.ts";
import type { RequestEntry, RequestKind } from "./request_log.ts";

/** Options of `createRegistry`. */
export interface RegistryOptions {
  /** Who may do what; everybody everything unless told. */
  auth?: AuthOptions;
  /** Ways in which real registries leave the beaten track. */
  quirks?: Quirks;
  /** Whether an index may name children that are not there. Refused unless told, as Nexus and distribution do. */
  allowSparse?: boolean;
  /** Whether a manifest may name blobs that are not there. Refused unless told. */
  allowMissingBlobs?: boolean;
  /** Whether uploaded blobs are hashed and then forgotten but for their size. */
  discardBlobs?: boolean;
  /** Origin (`https://cdn.test`) that blob downloads are sent to with a 307; see `createBlobHost`. */
  redirectBlobsTo?: string;
  /** The clock tokens expire by, in milliseconds; `Date.now` unless told. */
  now?: () => number;
  /** Called before each request is handled; an answer from here is the answer. */
  intercept?: Intercept;
}

/** What an {@linkcode Intercept} is told about a request. */
export interface InterceptContext {
  /** Which endpoint the request is for. */
  kind: RequestKind;
  /** The repository, empty for pings and tokens. */
  repository: string;
  /** The tag, digest or upload id in the path, else empty. */
  reference: string;
  /** How many requests with this method and kind came before, this one included. */
  count: number;
  /** The log entry of this request. */
  entry: RequestEntry;
  /** What the registry holds. */
  state: RegistryState;
  /** Lets the registry handle the request, for hooks that change its answer. Call it at most once. */
  next: () => Promise<Response>;
}

/** A hook for faults: answers in the registry's place, or not (`undefined`). */
export type Intercept = (
  request: Request,
  context: InterceptContext,
) => Response | undefined | Promise<Response | undefined>;

/** How the registry knows its clients. */
export type AuthOptions = BasicAuthOptions | BearerAuthOptions;

/** HTTP Basic authentication, checked on each request. */
export interface BasicAuthOptions {
  /** Which kind of authentication. */
  type: "basic";
  /** The one user. */
  username: string;
  /** That user's password. */
  password: string;
}

/** The token authentication of distribution, with the token service under `/token` of the same handler. */
export interface BearerAuthOptions {
  /** Which kind of authentication. */
  type: "bearer";
  /** The users by name. */
  users: Record<string, TokenUser>;
  /** Whether clients without credentials may pull: everywhere, or from the repositories named. */
  anonymousPull?: boolean | readonly string[];
  /** How long tokens live, in seconds; 300 unless told. */
  tokenLifetimeSeconds?: number;
  /** The `service` of the challenge; `registry.test` unless told. */
  service?: string;
  /** The `realm` of the challenge; `/token` at the origin that was asked, unless told. */
  realm?: string;
  /** Whether the token service leaves out `expires_in` and `issued_at` (clients must then assume 60 seconds). */
  omitExpiry?: boolean;
  /**
   * What becomes of a request for more than two repositories (a mount names two): `refused` as a whole, or granted for the first
   * one alone without a word. All that the user has rights to unless told.
   */
  manyScopes?: "refused" | "first";
}

/** One user of the token service. */
export interface TokenUser {
  /** The password. */
  password: string;
  /** Actions (`pull`, `push`, `delete`) by repository; a key ending in `*` is a prefix. All unless told. */
  rights?: Record<string, readonly string[]>;
}

/** Deviations seen in real registries; each is one property here and one branch in a handler. */
export interface Quirks {
  /** HEAD answers lack `Docker-Content-Digest`. */
  headWithoutDigest?: boolean;
  /** HEAD answers lack `Content-Length`. */
  headWithoutLength?: boolean;
  /** `Range` headers of blob downloads are ignored. */
  noRangeRequests?: boolean;
  /** Mounts answer 202 and an upload, never 201. */
  refuseMount?: boolean;
  /** Status of `?mount=` without `from=`: 201 where the blob can be found, an error status as Quay's, or 202 (unless told). */
  mountWithoutFromStatus?: number;
  /** A mount answers 400 when it has an `origin=`, as on Docker Hub. */
  refuseForeignOrigin?: boolean;
  /** A mount needs a manifest in the `from` repository that names the blob, as on ECR. */
  mountNeedsManifest?: boolean;
  /** A mount whose token lacks pull on `from` answers 202 and an upload where it else gets a challenge. */
  mountDeniedUploads?: boolean;
  /** `Location` and `Link` are absolute URLs. */
  locationAbsolute?: boolean;
  /** `Location` is an absolute URL at this origin. */
  locationOrigin?: string;
  /** Upload locations carry a `_state` that changes with each chunk and must come back. */
  uploadState?: boolean;
  /** Most tags on one page, with a `Link` to the next. */
  pageSize?: number;
  /** Largest `n` of tags/list that is accepted (1000 on ECR, which answers 400 above). */
  maxPageParameter?: number;
  /** Most referrers on one page, with a `Link` to the next. */
  referrersPageSize?: number;
  /** Status for absent repositories and manifests, 403 on Artifactory; 404 unless told. */
  missingStatus?: number;
  /** Request bodies without `Content-Length` answer 411, as on Google Artifact Registry. */
  requireContentLength?: boolean;
  /** Blobs larger than this many bytes answer 413. */
  maxUploadBytes?: number;
  /** Single requests with more bytes than this answer 413, as behind many proxies. */
  maxRequestBytes?: number;
  /** PUTs of a blob with more bytes than this answer 413, as ACR's 20 MB; chunks go through. */
  maxPutBytes?: number;
  /** Manifests larger than this many bytes answer 413; 4 MiB unless told. */
  maxManifestBytes?: number;
  /** Bytes in `OCI-Chunk-Min-Length` of upload answers; smaller chunks than that must be the last. */
  chunkMinLength?: number;
  /** There is no referrers API (404) and no `OCI-Subject` header. */
  noReferrers?: boolean;
  /** The artifactType filter of the referrers API is ignored, which the spec allows. */
  noReferrersFilter?: boolean;
  /** Pushing to a tag that exists answers 400, as on ECR with immutable tags. */
  immutableTags?: boolean;
  /** `?tag=` of a manifest pushed by digest is ignored, which the spec allows and most registries do. */
  noTagParameters?: boolean;
  /** Only the last PATCH of an upload counts, as on GHCR. */
  lastPatchWins?: boolean;
  /** PATCH answers 405, as on Google Artifact Registry. */
  noChunkedUpload?: boolean;
  /** Status of PATCH answers, 201 on ECR; 202 unless told. */
  patchStatus?: number;
  /** A single POST with `?digest=` and a body starts an upload (202), which the spec allows. */
  noSinglePost?: boolean;
  /** GET of an upload answers 404. */
  noUploadStatus?: boolean;
  /** Bytes of a PATCH that broke off are forgotten. */
  dropPartialChunk?: boolean;
  /** DELETE of an upload needs the `delete` action of a token, as on old registries. */
  uploadDeleteNeedsDelete?: boolean;
  /** Manifests are absent (404) for a client whose `Accept` does not name their type. */
  strictAccept?: boolean;
  /** The only manifest media types that can be pushed; others answer 400. */
  acceptedMediaTypes?: readonly string[];
  /** Status for a manifest that names blobs or children that are not there, 400 on distribution; 404 unless told. */
  missingReferenceStatus?: number;
  /** DELETE of a tag answers 405; of a digest it works. */
  refuseTagDelete?: boolean;
  /** Each DELETE of a manifest or blob answers 405. */
  refuseDelete?: boolean;
  /** Status of every HEAD of a manifest or a blob, as behind proxies that know no HEAD. */
  headStatus?: number;
  /** Manifests are found by their tags alone, as at GitHub's old package registry. */
  noManifestByDigest?: boolean;
  /** tags/list heeds `n` and `last` but sends no `Link`. */
  noTagLinks?: boolean;
  /** tags/list heeds no `last`. */
  ignoreLast?: boolean;
  /** How the `Link` of tags/list is written, given where it leads; as RFC 8288 says unless told. */
  writeLink?: (target: string) => string;
  /** Status for an `n` above `maxPageParameter`, 413 on Quay; 400 unless told. */
  pageParameterStatus?: number;
  /** Names that tags/list gives after the tags of its last page. */
  listedBesides?: readonly string[];
  /** Error that tags/list, manifests by GET and referrers come with instead, and with status 200. */
  errorWithOk?: string;
  /** Bytes of details beside the tags of a page, as at Google's registries. */
  tagPagePadding?: number;
  /** Content-Encoding of blobs, which are not encoded. */
  blobEncoding?: string;
  /** Manifests and lists come compressed with gzip although nobody asked. */
  compressJson?: boolean;
  /** Status for `Range` of blobs, 416 at crane's registry; 206 with a `Content-Range` of nonsense. */
  rangeStatus?: number;
  /** Status that the first PUT of each blob answers with; its upload is gone. */
  loseUploadsWith?: number;
  /**
   * Bytes are taken in PATCH alone, as at the Rust crate `container-registry`: a PUT with some is refused with 405 or 500, or they are
   * ignored, so that the digest is wrong. A POST with some opens an upload.
   */
  patchOnly?: "refused" | "unsupported" | "ignored";
  /** Mounts answer 201 and nothing is there. */
  falseMounts?: boolean;
  /** A POST with `?digest=` and a body answers 201 and nothing is there. */
  falsePosts?: boolean;
  /** Answers name content by sha256 whatever it was pushed as, as distribution's do. */
  canonicalSha256?: boolean;
  /** Status of a PUT of a manifest; 201 unless told. */
  manifestStatus?: number;
}
