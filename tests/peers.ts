/**
 * Peers read back what was copied, `deno task peers`: the images beside the repository and one of every shape, mirrored between
 * two docker-registries by the real command line, then read by crane, regctl, oras and skopeo, whichever are there.
 */

import { openWorkspace } from "./cli_process.ts";
import type { Image } from "./images.ts";
import { builtImages, pushAll, realImages } from "./real/images.ts";
import { type RegistryProcess, startRegistry } from "./real/registry_process.ts";
import { manifestDigest } from "./registry/manifest_facts.ts";
import type { PlacedImage } from "./real/skopeo.ts";

/** How one peer reads an image back. */
interface Peer {
  /** Name of its program. */
  program: string;
  /** What is run, for the table. */
  words: string;
  /** Arguments for an image of a registry. */
  args: (host: string, reference: string) => string[];
  /** Whether what it prints are the bytes of the manifest. */
  isManifest?: boolean;
}

/** What a peer said of an image, with the registry's name left out. */
interface Reading {
  /** Whether it read the image. */
  isRead: boolean;
  /** What it printed. */
  output: string;
  /** Digest of what it printed. */
  digest: string;
  /** The last line it complained with. */
  complaint: string;
}

const PEERS: readonly Peer[] = [
  {
    program: "crane",
    words: "crane validate --remote",
    args: (host, reference) => ["validate", "--insecure", "--remote", `${host}/${reference}`],
  },
  {
    program: "regctl",
    words: "regctl manifest get",
    args: (host, reference) => [
      "--host",
      `reg=${host},tls=disabled`,
      "manifest",
      "get",
      "--format",
      "raw-body",
      `${host}/${reference}`,
    ],
    isManifest: true,
  },
  {
    program: "oras",
    words: "oras discover",
    args: (host, reference) => ["discover", "--plain-http", `${host}/${reference}`],
  },
  {
    program: "skopeo",
    words: "skopeo inspect --raw",
    args: (host, reference) => ["inspect", "--raw", "--tls-verify=false", `docker://${host}/${reference}`],
    isManifest: true,
  },
];

if (import.meta.main) Deno.exit(await readBack() ? 0 : 1);

/** Mirrors and lets each peer read; `false` when one that is there reads anything amiss. */
async function readBack(): Promise<boolean> {
  await using source = await startRegistry();
  await using destination = await startRegistry();
  const images = [...builtImages(), ...await realImages()].filter(({ tag }) => tag !== undefined);
  await pushAll(source, images);
  if (!await mirrorAll(source, destination, images)) return false;
  let isRight = true;
  for (const peer of PEERS) {
    isRight = await readWith(peer, { source, destination, images }) && isRight;
  }
  return isRight;
}

async function mirrorAll(
  source: RegistryProcess,
  destination: RegistryProcess,
  images: readonly PlacedImage[],
): Promise<boolean> {
  await using workspace = await openWorkspace();
  const repositories = new Set(images.map(({ repository }) => repository));
  const config = await workspace.writeConfig({
    auth: { [source.host]: { insecure: true }, [destination.host]: { insecure: true } },
    images: Object.fromEntries(
      [...repositories].map((name) => [`${source.host}/${name}`, `${destination.host}/${name}`]),
    ),
  });
  const { code, lines, stderr } = await workspace.run(["--config", config]);
  console.log(lines.at(-1));
  if (code !== 0) console.error(stderr);
  return code === 0;
}

/**
 * One line of the table, and one for each image that is read otherwise than at its source: some of the built images are none
 * to crane, whoever holds them.
 */
async function readWith(
  peer: Peer,
  { source, destination, images }: {
    source: RegistryProcess;
    destination: RegistryProcess;
    images: readonly PlacedImage[];
  },
): Promise<boolean> {
  const failures: string[] = [];
  let [read, refused] = [0, 0];
  for (const { repository, tag, image } of images) {
    const reference = `${repository}:${tag}`;
    const before = await readingOf(peer, source.host, { reference, image });
    const after = await readingOf(peer, destination.host, { reference, image });
    if (before === undefined || after === undefined) return notThere(peer);
    // The registry signs schema 1 anew for each reader: of manifests the digest counts.
    const isSame = peer.isManifest ? after.digest === image.digest : before.output === after.output;
    if (!isSame || before.isRead !== after.isRead) {
      failures.push(`  ${reference} (${image.mediaType}): ${after.complaint || `read as ${after.digest}`}`);
    } else if (after.isRead) read++;
    else refused++;
  }
  const odd = refused > 0 ? `, ${refused} refused at the source as well` : "";
  console.log(`${peer.words}: ${read} of ${images.length} images read back${odd}, ${failures.length} amiss`);
  for (const line of failures) console.log(line);
  return failures.length === 0;
}

function notThere({ program, words }: Peer): true {
  console.log(`${words}: not run, since ${program} is not there`);
  return true;
}

/** What a peer says of an image; nothing where its program is not there. */
async function readingOf(
  peer: Peer,
  host: string,
  { reference, image }: { reference: string; image: Image },
): Promise<Reading | undefined> {
  try {
    const { success, stdout, stderr } = await new Deno.Command(peer.program, {
      args: peer.args(host, reference),
    }).output();
    const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes).replaceAll(host, "");
    return {
      isRead: success,
      output: textOf(stdout),
      digest: peer.isManifest && success ? manifestDigest(stdout, image.mediaType) : "nothing",
      complaint: success ? "" : textOf(stderr).trim().split("\n").at(-1) ?? "",
    };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
