/** Random image graphs: any seed gives a shape that some registry holds. */

import {
  buildArtifact,
  buildHelmChart,
  buildImage,
  buildIndex,
  type Format,
  type Image,
  type LayerSpec,
} from "./image.ts";
import { buildLayer, emptyLayer, foreignLayer, sha512Layer } from "./layer.ts";
import { buildSchema1 } from "./schema1.ts";

/** Gives the next number from 0 up to but without 1. */
export type Random = () => number;

/** A sequence of numbers that depends on nothing but the seed. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const ARCHITECTURES = ["amd64", "arm64", "arm", "riscv64", "s390x"];

/** What some registries cannot hold: sha512 layers, signed schema 1, layers that live at `urls`. */
export type RareShape = "sha512" | "schema1" | "foreign";

/** Options of {@linkcode buildRandomImage}. */
export interface RandomImageOptions {
  /**
   * Shapes to leave out. docker-registry 2.8 holds no sha512, and the others only when configured with
   * `compatibility.schema1.enabled` and `validation.manifests.urls.allow`.
   */
  without?: readonly RareShape[];
}

/** An image, artifact, or index of up to three levels. Layers are often shared between images, also of other seeds. */
export function buildRandomImage(seed: number, options: RandomImageOptions = {}): Image {
  return new RandomBuilder(createRandom(seed), options).build(3);
}

class RandomBuilder {
  readonly #random: Random;
  readonly #without: readonly RareShape[];

  constructor(random: Random, options: RandomImageOptions) {
    this.#random = random;
    this.#without = options.without ?? [];
  }

  build(depth: number): Image {
    const kind = this.#random();
    if (depth === 0 || kind < 0.35) return this.#image();
    if (kind < 0.45) return buildHelmChart(this.#integer(5));
    if (kind < 0.55) {
      return buildArtifact({ seed: this.#integer(5), artifactType: "application/vnd.test.thing" });
    }
    const isRoot = depth === 3;
    if (kind < 0.6 && isRoot && !this.#without.includes("schema1")) {
      return buildSchema1({ seed: this.#integer(5) });
    }
    return this.#index(depth);
  }

  #index(depth: number): Image {
    const children = new Map<string, Image>();
    for (let count = 1 + this.#integer(4); count > 0; count--) {
      const child = this.build(depth - 1);
      children.set(child.digest, child);
    }
    return buildIndex([...children.values()], {
      format: this.#format(),
      attestations: this.#random() < 0.2,
      withoutPlatforms: this.#random() < 0.15,
      ...(this.#random() < 0.3 && { annotations: { "test.seed": `${this.#integer(100)}` } }),
    });
  }

  #image(): Image {
    return buildImage({
      seed: this.#integer(1000),
      format: this.#format(),
      platform: { os: "linux", architecture: ARCHITECTURES[this.#integer(5)] ?? "amd64" },
      layers: Array.from({ length: this.#integer(5) }, () => this.#layer()),
    });
  }

  #layer(): LayerSpec {
    const kind = this.#random();
    const seed = this.#integer(20);
    if (kind < 0.05) return emptyLayer();
    if (kind < 0.1 && !this.#without.includes("sha512")) return sha512Layer(seed);
    if (kind < 0.15 && !this.#without.includes("foreign")) return foreignLayer(seed);
    return buildLayer(seed, 1 + this.#integer(4096));
  }

  #format(): Format {
    return this.#random() < 0.5 ? "oci" : "docker";
  }

  #integer(below: number): number {
    return Math.floor(this.#random() * below);
  }
}
