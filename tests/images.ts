/** Builds images of every shape for the tests and puts them into registries. */

export {
  type ArtifactOptions,
  assemble,
  blobsOf,
  buildArtifact,
  buildAttestation,
  buildHelmChart,
  buildImage,
  buildIndex,
  buildMultiPlatform,
  DEFAULT_PLATFORM,
  encodeJson,
  type Format,
  type Image,
  type ImageOptions,
  type IndexOptions,
  type LayerSpec,
  walkImage,
} from "./images/image.ts";
export { buildLayer, emptyLayer, foreignLayer, largeLayer, sha512Layer } from "./images/layer.ts";
export { pushBlob, pushImage, pushManifest, pushOverHttp } from "./images/push_image.ts";
export {
  buildRandomImage,
  createRandom,
  type Random,
  type RandomImageOptions,
  type RareShape,
} from "./images/random_image.ts";
export { buildSchema1, type Schema1Options } from "./images/schema1.ts";
