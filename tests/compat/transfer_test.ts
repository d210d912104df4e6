/** Compatibility, items 45 to 56: how blobs get from one registry to the other. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { parseFlags } from "../../src/machine/config/flags.ts";
import { limitsOf } from "../../src/machine/doors/command_setup.ts";
import { loadMachineHasher } from "../../src/machine/network/hasher.ts";
import { blobsOf, buildImage, buildMultiPlatform, type Image, pushImage } from "../images.ts";
import {
  assertHolds,
  cutting,
  DESTINATION,
  mountsAt,
  setUpMirror,
  SOURCE,
  uploadsTo,
} from "../mirror_setup.ts";
import {
  generatedContent,
  type Intercept,
  type InterceptContext,
  type RegistryOptions,
} from "../registry.ts";
import { serveProxy } from "../tls_servers.ts";
import { compat } from "./item.ts";
import { assertExit, withScene } from "./scene.ts";

const RULE = { [`${SOURCE}/ns/app:v1`]: `${DESTINATION}/copy/app` };
/** A rule that works beside the one that is looked at. */
const BESIDES = { [`${SOURCE}/ns/other:v1`]: `${DESTINATION}/besides/other` };

/** Answers some requests, each as often as told, in the registry's place. */
function answer(
  matches: (request: Request, context: InterceptContext) => boolean,
  respond: () => Response,
): Intercept {
  return (request, context) => matches(request, context) ? respond() : undefined;
}

compat(45, "a blob that the destination has is not read at the source", async () => {
  const setup = setUpMirror();
  const image = buildImage({ layers: 3 });
  pushImage(setup.source, "ns/app", "v1", image);
  for (const blob of blobsOf(image).values()) setup.destination.state.addBlob("copy/app", blob);
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertEquals(setup.source.count({ kind: "blob" }), 0);
  assertHolds(setup.destination, "copy/app", "v1", image);
});

compat(46, "a layer without a Content-Length is streamed", async () => {
  const source: RegistryOptions = {
    intercept: async ({ method }, { kind, next }) => {
      if (method !== "GET" || kind !== "blob") return undefined;
      const response = await next();
      const headers = new Headers(response.headers);
      headers.delete("content-length");
      return new Response(response.body?.pipeThrough(new TransformStream()), { headers });
    },
  };
  const setup = setUpMirror({ source });
  const image = buildImage({ layerSize: 3_000_000 });
  pushImage(setup.source, "ns/app", "v1", image);
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertHolds(setup.destination, "copy/app", "v1", image);
});

const MEBIBYTE = 1024 * 1024;

compat(
  47,
  "what has left the source and not yet reached the destination is a small part of a large layer",
  async () => {
    const layer = generatedContent(5, 64 * MEBIBYTE);
    let arrived = 0;
    let most = 0;
    const destination: RegistryOptions = {
      allowMissingBlobs: true,
      intercept: async (request, { kind }) => {
        if (request.method !== "PUT" || kind !== "upload") return undefined;
        for await (const chunk of request.body ?? []) {
          arrived += chunk.length;
          most = Math.max(most, left() - arrived);
        }
        return new Response(null, { status: 201 });
      },
    };
    const setup = setUpMirror({ source: {}, destination });
    const left = () =>
      setup.source.requests.reduce((sum, { kind, bytesOut }) => kind === "blob" ? sum + bytesOut : sum, 0);
    pushImage(setup.source, "ns/app", "v1", buildImage({ layers: [layer] }));
    assertEquals((await setup.run(RULE)).totals.copied, 1);
    assert(arrived >= layer.size, `${arrived} bytes arrived`);
    assert(most < 8 * MEBIBYTE, `${most} bytes were under way at once`);
  },
);

compat(47, "nothing but the records is written, and they are small", () =>
  withScene(async (scene) => {
    scene.push("ns/large", "v1", buildImage({ layers: 1, layerSize: 8 * MEBIBYTE }));
    // The command may write to this directory and nowhere else.
    assertExit(await scene.sync({ [`${scene.S}/ns/large:v1`]: `${scene.D}/copy/large` }), 0);
    const names = await Array.fromAsync(Deno.readDir(scene.workspace.directory), ({ name }) => name);
    const sizes = await Promise.all(
      names.map(async (name) => (await Deno.stat(scene.workspace.path(name))).size),
    );
    assert(sizes.every((size) => size < 10_000), `${names} ${sizes}`);
  }));

for (
  const quirks of [{}, { locationAbsolute: true }, { uploadState: true }, {
    locationAbsolute: true,
    uploadState: true,
  }]
) {
  const names = Object.keys(quirks).join(" and ") || "relative and without a query";
  compat(48, `an upload goes on where Location says: ${names}`, async () => {
    const setup = setUpMirror({ destination: { quirks } });
    const image = buildImage({ layerSize: 2 * MEBIBYTE });
    pushImage(setup.source, "ns/app", "v1", image);
    assertEquals((await setup.run(RULE)).totals.copied, 1);
    assertHolds(setup.destination, "copy/app", "v1", image);
    const puts = setup.destination.requests.filter(({ method, kind }) =>
      method === "PUT" && kind === "upload"
    );
    assert(
      puts.length > 0 && puts.every(({ path }) => path.includes("digest=")),
      puts.map((put) => put.path).join(),
    );
    if ("uploadState" in quirks) assert(puts.every(({ path }) => path.includes("_state=")));
  });
}

// The registry refuses a manifest that names what is not there, so the order of what it took is the proof.
compat(49, "a manifest is put after its blobs and its children", async () => {
  const setup = setUpMirror();
  const image = buildMultiPlatform(["amd64", "arm64", "s390x"]);
  pushImage(setup.source, "ns/app", "v1", image);
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  const taken = setup.destination.requests.filter(({ status }) => status === 201).map(({ kind, path }) => ({
    kind,
    path,
  }));
  const lastBlob = taken.findLastIndex(({ kind }) => kind === "upload");
  const firstOfIndex = taken.findIndex(({ path }) => path.endsWith("/manifests/v1"));
  assertEquals(firstOfIndex, taken.length - 1);
  assert(lastBlob >= 0 && lastBlob < firstOfIndex);
  assertEquals(taken.filter(({ kind }) => kind === "manifest").length, 4);
  assertEquals(
    setup.destination.requests.filter(({ method, status }) => method === "PUT" && status >= 400).length,
    0,
  );
});

/** A repository that answers one kind of request for blobs with a status. */
function refusing(status: number, methods: readonly string[]): RegistryOptions {
  return {
    intercept: answer(
      ({ method }, { kind, repository }) =>
        repository === "copy/app" && kind !== "manifest" && methods.includes(method),
      () => new Response(null, { status }),
    ),
  };
}

for (const status of [401, 403, 500, 503]) {
  compat(50, `a blob request answered with ${status} fails that image, and the others go on`, async () => {
    const setup = setUpMirror({ destination: refusing(status, ["HEAD", "POST"]) });
    pushImage(setup.source, "ns/app", "v1", buildImage({ layerSize: 2 * MEBIBYTE }));
    pushImage(setup.source, "ns/other", "v1", buildImage({ seed: 2 }));
    // A repository that is known to be there is asked for its blobs.
    pushImage(setup.destination, "copy/app", "old", buildImage({ seed: 3 }));
    const { totals, tasks } = await setup.run({ ...RULE, ...BESIDES });
    assertEquals([totals.copied, totals.failed], [1, 1]);
    assertStringIncludes(tasks.find((task) => task.status === "failed")?.error ?? "", `${status}`);
  });
}

// That image failed there; but ACR and Artifactory refuse a HEAD of what they do not have to whoever may push it.
compat(50, "a HEAD of a blob that is refused does not keep the blob from being pushed", async () => {
  const setup = setUpMirror({ destination: refusing(403, ["HEAD"]) });
  const image = buildImage({ layerSize: 2 * MEBIBYTE });
  pushImage(setup.source, "ns/app", "v1", image);
  pushImage(setup.destination, "copy/app", "old", buildImage({ seed: 3 }));
  assertEquals((await setup.run(RULE)).totals.copied, 1);
  assertHolds(setup.destination, "copy/app", "v1", image);
});

for (
  const [method, kind] of [["HEAD", "manifest"], ["GET", "manifest"], ["GET", "blob"], ["POST", "upload"], [
    "PUT",
    "upload",
  ], ["PUT", "manifest"]] as const
) {
  compat(51, `429 with Retry-After on ${method} of a ${kind} is waited for`, async () => {
    const intercept = answer(
      (request, context) => request.method === method && context.kind === kind && context.count === 1,
      () => new Response(null, { status: 429, headers: { "retry-after": "7" } }),
    );
    const isSource = method === "GET" || method === "HEAD";
    const setup = setUpMirror(isSource ? { source: { intercept } } : { destination: { intercept } });
    const image = buildImage({ layerSize: 2 * MEBIBYTE });
    pushImage(setup.source, "ns/app", "v1", image);
    assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
    assertHolds(setup.destination, "copy/app", "v1", image);
    assert(setup.clock.waits.some((wait) => wait >= 6900 && wait <= 8000), `${setup.clock.waits}`);
  });
}

// v1.5.5 gave an upload up at once when its PUT failed, and tried the whole blob again a pass later.
compat(51, "5xx and broken connections of an upload are tried again in the same pass", async () => {
  let broken = 0;
  const cut = cutting((request) =>
    request.method === "PUT" && !request.url.includes("/manifests/") && broken++ === 0
      ? { after: MEBIBYTE }
      : undefined
  );
  const intercept = answer(
    ({ method }, { kind, count }) => method === "PUT" && kind === "manifest" && count < 3,
    () => new Response(null, { status: 502 }),
  );
  const setup = setUpMirror({ destination: { intercept }, wrap: { [DESTINATION]: cut } });
  const image = buildImage({ layers: 1, layerSize: 4 * MEBIBYTE });
  pushImage(setup.source, "ns/app", "v1", image);
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "copy/app", "v1", image);
  assert(broken > 1);
});

/** Breaks the first answer with a blob off after some bytes. */
function breakOnce(after: number): Intercept {
  let isBroken = false;
  return async ({ method }, { kind, next }) => {
    if (method !== "GET" || kind !== "blob" || isBroken) return undefined;
    const response = await next();
    if (Number(response.headers.get("content-length")) < after) return response;
    isBroken = true;
    return new Response(response.body?.pipeThrough(breaking(after)), response);
  };
}

function breaking(after: number): TransformStream<Uint8Array, Uint8Array> {
  let left = after;
  return new TransformStream({
    transform: (chunk, controller) => {
      if (left <= 0) controller.error(new TypeError("connection reset by peer"));
      else controller.enqueue(chunk.subarray(0, left));
      left -= chunk.length;
    },
  });
}

compat(52, "a source that breaks off in a blob is read on from there", async () => {
  const setup = setUpMirror({ source: { intercept: breakOnce(MEBIBYTE) } });
  const image = buildImage({ layers: 1, layerSize: 4 * MEBIBYTE });
  pushImage(setup.source, "ns/app", "v1", image);
  assertEquals((await setup.run(RULE, { retries: 0 })).totals.copied, 1);
  assertHolds(setup.destination, "copy/app", "v1", image);
  assert(setup.source.requests.some(({ range }) => range !== undefined && !range.startsWith("bytes=0-")));
});

/** A destination that takes whatever it is sent for what it was said to be. */
const CREDULOUS: RegistryOptions = {
  allowMissingBlobs: true,
  intercept: async (request, { kind }) => {
    const isBlob = kind === "upload" && new URL(request.url).searchParams.has("digest");
    if (!isBlob) return undefined;
    await request.body?.pipeTo(new WritableStream());
    return new Response(null, { status: 201 });
  },
};

/** A source that gives one wrong byte in each layer. */
const CORRUPT: RegistryOptions = {
  intercept: async ({ method }, { kind, next }) => {
    if (method !== "GET" || kind !== "blob") return undefined;
    const response = await next();
    const bytes = new Uint8Array(await response.arrayBuffer());
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    return new Response(bytes, response);
  },
};

for (
  const [size, options] of [[1000, {}], [3 * MEBIBYTE, { createHasher: await loadMachineHasher() }]] as const
) {
  const how = size > MEBIBYTE ? "with --verify" : "always";
  compat(53, `a wrong byte in ${size} is found though the destination does not look (${how})`, async () => {
    const setup = setUpMirror({ source: CORRUPT, destination: CREDULOUS });
    pushImage(setup.source, "ns/app", "v1", buildImage({ layers: 1, layerSize: size }));
    const { totals, tasks } = await setup.run(RULE, { retries: 0, ...options });
    assertEquals([totals.copied, totals.failed], [0, 1]);
    assertStringIncludes(tasks[0]?.error ?? "", "digest");
    assertEquals(setup.destination.repositories.get("copy/app")?.tags.size ?? 0, 0);
  });
}

// There it waited for ever.
compat(54, "a server that takes a request and never answers fails within the time limit", async () => {
  const source: RegistryOptions = {
    intercept: ({ method }) => method === "HEAD" ? new Promise(() => {}) : undefined,
  };
  const setup = setUpMirror({ source, registries: { limits: { headers: 100, attempts: 2 } } });
  pushImage(setup.source, "ns/app", "v1", buildImage());
  const { totals, tasks } = await setup.run(RULE, { retries: 0 });
  assertEquals([totals.copied, totals.failed], [0, 1]);
  assertStringIncludes(tasks[0]?.error ?? "", "no answer within 0.1 s");
});

compat(54, "--header-timeout, --commit-timeout and --stall-timeout set the limits, in seconds", () => {
  const names = ["header", "commit", "stall"];
  const args = names.flatMap((name, index) => [`--${name}-timeout`, `${index + 1}`]);
  assertEquals(limitsOf(parseFlags(args).flags), { headers: 1000, commit: 2000, stall: 3000 });
});

/** Images that share a layer, each under a tag of a repository. */
function pushSharing(setup: ReturnType<typeof setUpMirror>, names: readonly string[]): Image[] {
  return names.map((name, seed) => {
    const [repository = "", tag] = name.split(":");
    const image = buildImage({ seed, layers: [generatedContent(77, 2 * MEBIBYTE)] });
    pushImage(setup.source, repository, tag, image);
    return image;
  });
}

const SHARED = generatedContent(77, 2 * MEBIBYTE).digest;

compat(55, "a layer of many images of a repository is uploaded once", async () => {
  const setup = setUpMirror();
  pushSharing(setup, ["ns/app:a", "ns/app:b", "ns/app:c", "ns/app:d"]);
  assertEquals((await setup.run({ [`${SOURCE}/ns/app`]: `${DESTINATION}/copy/app` })).totals.copied, 4);
  assertEquals(uploadsTo(setup.destination).filter(({ digest }) => digest === SHARED).length, 1);
});

compat(55, "a layer that another repository of the registry has is mounted from there", async () => {
  const setup = setUpMirror();
  pushSharing(setup, ["ns/one:v1", "ns/two:v1"]);
  const images = {
    [`${SOURCE}/ns/one:v1`]: `${DESTINATION}/copy/one`,
    [`${SOURCE}/ns/two:v1`]: `${DESTINATION}/copy/two`,
  };
  assertEquals((await setup.run(images)).totals.copied, 2);
  assertEquals(uploadsTo(setup.destination).filter(({ digest }) => digest === SHARED).length, 1);
  assertEquals(mountsAt(setup.destination).filter(({ digest }) => digest === SHARED).length, 1);
});

for (const host of ["source.test", "127.0.0.1"]) {
  compat(
    56,
    `HTTPS_PROXY leads to registries, and not to this machine itself (${host})`,
    () =>
      withScene(async (scene) => {
        // What the runtime fetches for itself, it fetches before there is a proxy.
        assertExit(await scene.run(["--version"]), 0);
        const source = scene.S.replace("127.0.0.1", host);
        await using proxy = serveProxy({ hosts: { [source]: scene.S } });
        const config = await scene.write("proxied.json", {
          auth: scene.auth({ [source]: { insecure: true } }),
          images: { [`${source}/ns/app:v1`]: `${scene.D}/copy/app` },
        });
        const environment = { HTTPS_PROXY: `http://${proxy.host}` };
        assertExit(await scene.run(["--config", config], { environment }), 0);
        const reached = new Set(proxy.heads.map((head) => /^CONNECT (\S+)/.exec(head)?.[1]));
        assertEquals([...reached], host === "127.0.0.1" ? [] : [source]);
        assertEquals(scene.tagsAt("copy/app"), ["v1"]);
      }, { tls: true }),
  );
}
