/** Builds images, artifacts and indexes in memory, the same ones for the same seed. */

import {
  type Descriptor,
  type Digest,
  MEDIA_TYPE_DOCKER_LIST,
  MEDIA_TYPE_DOCKER_MANIFEST,
  MEDIA_TYPE_OCI_INDEX,
  MEDIA_TYPE_OCI_MANIFEST,
  type Platform,
} from "../../src/oci/descriptor.ts";
import { type BlobContent, type Bytes, bytesContent, generatedBytes } from "../registry/blob_content.ts";
import { digestBytes } from "../registry/digest.ts";

/** Whether things are spelled in OCI's media types or in Docker's. */
export type Format = "oci" | "docker";

/** An image, artifact or index with all it is made of. */
export interface Image {
  /** The exact manifest. */
  readonly bytes: Bytes;
  /** Media type of the manifest. */
  readonly mediaType: string;
  /** Digest of the manifest. */
  readonly digest: Digest;
  /** The manifest as an index would list it, with platform and annotations. */
  readonly descriptor: Descriptor;
  /** Blobs the manifest names, without those that live at `urls`. */
  readonly blobs: ReadonlyMap<Digest, BlobContent>;
  /** Children of an index. */
  readonly children: readonly Image[];
}

/** A layer: how many bytes to make, or ready content with what its descriptor should say besides. */
export type LayerSpec = BlobContent | (Partial<Descriptor> & { content: BlobContent });

/** Options of {@linkcode buildImage}. */
export interface ImageOptions {
  /** Where the pseudo-random bytes start; 1 unless told. */
  seed?: number;
  /** OCI unless told. */
  format?: Format;
  /** How many layers to make (2 unless told), or the layers. */
  layers?: number | readonly LayerSpec[];
  /** Bytes of each layer that is made; 1024 unless told. */
  layerSize?: number;
  /** Digest algorithm of the layers that are made. */
  layerAlgorithm?: string;
  /** What it runs on; `linux/amd64` unless told. */
  platform?: Platform;
  /** The config's creation date. */
  created?: string;
  /** Annotations of the manifest. */
  annotations?: Record<string, string>;
  /** The manifest this one refers to. */
  subject?: Image | Descriptor;
  /** Fields put into the manifest besides, to be carried unread. */
  extraFields?: Record<string, unknown>;
}

const GZIP_LAYERS: Readonly<Record<Format, string>> = {
  oci: "application/vnd.oci.image.layer.v1.tar+gzip",
  docker: "application/vnd.docker.image.rootfs.diff.tar.gzip",
};
const CONFIGS: Readonly<Record<Format, string>> = {
  oci: "application/vnd.oci.image.config.v1+json",
  docker: "application/vnd.docker.container.image.v1+json",
};
const MANIFESTS: Readonly<Record<Format, string>> = {
  oci: MEDIA_TYPE_OCI_MANIFEST,
  docker: MEDIA_TYPE_DOCKER_MANIFEST,
};
/** The platform of an image that was given none. */
export const DEFAULT_PLATFORM: Platform = { os: "linux", architecture: "amd64" };

/** A single image: config, layers, manifest. */
export function buildImage(options: ImageOptions = {}): Image {
  const { format = "oci", platform = DEFAULT_PLATFORM } = options;
  const layers = layerSpecs(options).map((spec) => layerEntry(spec, GZIP_LAYERS[format]));
  const config = {
    created: options.created ?? "2024-01-02T03:04:05Z",
    ...platform,
    config: { Env: [`SEED=${options.seed ?? 1}`] },
    rootfs: { type: "layers", diff_ids: layers.map(({ descriptor }) => descriptor.digest) },
  };
  const configContent = bytesContent(encodeJson(config));
  return assemble(
    {
      schemaVersion: 2,
      mediaType: MANIFESTS[format],
      config: { mediaType: CONFIGS[format], digest: configContent.digest, size: configContent.size },
      layers: layers.map(({ descriptor }) => descriptor),
      ...commonFields(options),
    },
    [configContent, ...pushedLayers(layers)],
    { platform },
  );
}

/** Options of {@linkcode buildArtifact}. */
export interface ArtifactOptions {
  /** Where the pseudo-random bytes start; 1 unless told. */
  seed?: number;
  /** Type of the artifact. */
  artifactType?: string;
  /** Media type of the config; OCI's empty config `{}` unless told. */
  configMediaType?: string;
  /** What the config says. */
  config?: unknown;
  /** Media type of the single layer; none when empty. */
  layerMediaType?: string;
  /** Bytes of the layer; 64 unless told. */
  layerSize?: number;
  /** Annotations of the manifest. */
  annotations?: Record<string, string>;
  /** The manifest this one refers to. */
  subject?: Image | Descriptor;
}

/** An artifact packed as an OCI image manifest (OCI image-spec 1.1, Guidelines for Artifact Usage). */
export function buildArtifact(options: ArtifactOptions = {}): Image {
  const { layerMediaType = "application/octet-stream", configMediaType } = options;
  const config = bytesContent(encodeJson(options.config ?? {}));
  const layer = bytesContent(generatedBytes(options.seed ?? 1, options.layerSize ?? 64));
  const layers = layerMediaType === "" ? [] : [layer];
  return assemble(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPE_OCI_MANIFEST,
      ...(options.artifactType !== undefined && { artifactType: options.artifactType }),
      config: {
        mediaType: configMediaType ?? "application/vnd.oci.empty.v1+json",
        digest: config.digest,
        size: config.size,
      },
      layers: layers.map(({ digest, size }) => ({ mediaType: layerMediaType, digest, size })),
      ...commonFields(options),
    },
    [config, ...layers],
    { ...(options.artifactType !== undefined && { artifactType: options.artifactType }) },
  );
}

/** A Helm chart as Helm pushes it. */
export function buildHelmChart(seed = 1): Image {
  return buildArtifact({
    seed,
    config: { name: "chart", version: `0.${seed}.0`, apiVersion: "v2" },
    configMediaType: "application/vnd.cncf.helm.config.v1+json",
    layerMediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
  });
}

/** A build attestation for an image, as BuildKit puts it into the index beside that image. */
export function buildAttestation(image: Image, seed = 1): Image {
  const statement = bytesContent(
    encodeJson({ _type: "https://in-toto.io/Statement/v0.1", seed, of: image.digest }),
  );
  const layer = {
    content: statement,
    mediaType: "application/vnd.in-toto+json",
    annotations: { "in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2" },
  };
  const platform = { architecture: "unknown", os: "unknown" };
  const attestation = buildImage({ seed, platform, layers: [layer] });
  const annotations = {
    "vnd.docker.reference.digest": image.digest,
    "vnd.docker.reference.type": "attestation-manifest",
  };
  return { ...attestation, descriptor: { ...attestation.descriptor, annotations } };
}

/** Options of {@linkcode buildIndex}. */
export interface IndexOptions {
  /** OCI unless told. */
  format?: Format;
  /** Annotations of the index. */
  annotations?: Record<string, string>;
  /** Type of the artifact, when the index is one. */
  artifactType?: string;
  /** The manifest this index refers to. */
  subject?: Image | Descriptor;
  /** Whether an attestation follows each image. */
  attestations?: boolean;
  /** Whether the entries say no platform. */
  withoutPlatforms?: boolean;
  /** Entries that are listed without being built or pushed, for sparse indexes. */
  sparseEntries?: readonly Descriptor[];
  /** Fields put into the index besides, to be carried unread. */
  extraFields?: Record<string, unknown>;
}

/** An index (or Docker manifest list) of images and other indexes. */
export function buildIndex(entries: readonly Image[], options: IndexOptions = {}): Image {
  const attestations = options.attestations
    ? entries.map((entry, seed) => buildAttestation(entry, seed))
    : [];
  const children = [...entries, ...attestations];
  const listed = children.map(({ descriptor }) =>
    options.withoutPlatforms ? withoutPlatform(descriptor) : descriptor
  );
  const index = assemble(
    {
      schemaVersion: 2,
      mediaType: options.format === "docker" ? MEDIA_TYPE_DOCKER_LIST : MEDIA_TYPE_OCI_INDEX,
      ...(options.artifactType !== undefined && { artifactType: options.artifactType }),
      manifests: [...listed, ...options.sparseEntries ?? []],
      ...commonFields(options),
    },
    [],
    { ...(options.artifactType !== undefined && { artifactType: options.artifactType }) },
  );
  return { ...index, children };
}

/** The images of a multi-platform index with one image a platform. */
export function buildMultiPlatform(
  architectures: readonly string[],
  options: ImageOptions & IndexOptions = {},
): Image {
  const images = architectures.map((text, index) => {
    const [architecture = "", variant] = text.split("/");
    const platform = { os: "linux", architecture, ...(variant !== undefined && { variant }) };
    return buildImage({ ...options, seed: (options.seed ?? 1) + index * 1000, platform });
  });
  return buildIndex(images, options);
}

/** The image and everything below it, children before parents, each once. */
export function walkImage(image: Image): Image[] {
  const seen = new Map<Digest, Image>();
  const visit = (node: Image) => {
    if (seen.has(node.digest)) return;
    node.children.forEach(visit);
    seen.set(node.digest, node);
  };
  visit(image);
  return [...seen.values()];
}

/** Every blob of the image and of everything below it. */
export function blobsOf(image: Image): Map<Digest, BlobContent> {
  return new Map(walkImage(image).flatMap((node) => [...node.blobs]));
}

/** A manifest of any kind from the value it says and the blobs it names. */
export function assemble(
  manifest: { mediaType: string } & Record<string, unknown>,
  blobs: readonly BlobContent[],
  details: Pick<Descriptor, "platform" | "artifactType"> = {},
): Image {
  const bytes = encodeJson(manifest);
  const { mediaType } = manifest;
  const digest = digestBytes(bytes);
  return {
    bytes,
    mediaType,
    digest,
    descriptor: { mediaType, digest, size: bytes.length, ...details },
    blobs: new Map(blobs.map((blob) => [blob.digest, blob])),
    children: [],
  };
}

/** The value as indented JSON, so that a copy that re-serializes it is found out. */
export function encodeJson(value: unknown): Bytes {
  return new TextEncoder().encode(JSON.stringify(value, null, 3));
}

function commonFields(
  options: Pick<ImageOptions, "annotations" | "subject" | "extraFields">,
): Record<string, unknown> {
  const { annotations, subject, extraFields } = options;
  return {
    ...(subject !== undefined && { subject: plainDescriptor(subject) }),
    ...(annotations !== undefined && { annotations }),
    ...extraFields,
  };
}

function plainDescriptor(subject: Image | Descriptor): Descriptor {
  const { mediaType, digest, size } = "descriptor" in subject ? subject.descriptor : subject;
  return { mediaType, digest, size };
}

function withoutPlatform(descriptor: Descriptor): Descriptor {
  const { platform: _, ...rest } = descriptor;
  return rest;
}

function layerSpecs(options: ImageOptions): readonly LayerSpec[] {
  const { layers = 2, layerSize = 1024, seed = 1, layerAlgorithm } = options;
  if (typeof layers !== "number") return layers;
  return Array.from({ length: layers }, (_, index) => {
    const bytes = generatedBytes(seed * 7919 + index, layerSize);
    return bytesContent(bytes, digestBytes(bytes, layerAlgorithm));
  });
}

function pushedLayers(layers: readonly { descriptor: Descriptor; content: BlobContent }[]): BlobContent[] {
  return layers.filter(({ descriptor }) => descriptor.urls === undefined).map(({ content }) => content);
}

function layerEntry(spec: LayerSpec, mediaType: string): { descriptor: Descriptor; content: BlobContent } {
  if (!("content" in spec)) {
    return { descriptor: { mediaType, digest: spec.digest, size: spec.size }, content: spec };
  }
  const { content, ...details } = spec;
  return { descriptor: { mediaType, digest: content.digest, size: content.size, ...details }, content };
}
