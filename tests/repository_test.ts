/** Tests of the verbs of the distribution-spec for one repository. */

import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { DigestError, MANIFEST_MEDIA_TYPES, MEDIA_TYPE_OCI_MANIFEST } from "../src/oci/descriptor.ts";
import { ManifestError, parseContent } from "../src/oci/manifest.ts";
import { RegistryError } from "../src/registry/registry_error.ts";
import type { Repository } from "../src/registry/repository/repository.ts";
import type { RegistriesOptions } from "../src/registry/request.ts";
import { Registries } from "../src/registry/registries.ts";
import { TagList } from "../src/registry/repository/tag_list.ts";
import { resolveLocation, type UploadSession } from "../src/registry/repository/upload_session.ts";
import { FakeClock } from "./fake_clock.ts";
import {
  buildArtifact,
  buildImage,
  buildIndex,
  buildSchema1,
  encodeJson,
  type Image,
  pushImage,
} from "./images.ts";
import { RawServer } from "./raw_server.ts";
import {
  createNetwork,
  createRegistry,
  digestBytes,
  generatedContent,
  type Intercept,
  type RegistryOptions,
  type TestRegistry,
} from "./registry.ts";
import { readAll } from "./registry/blob_content.ts";

const REGISTRY = "registry.test";
const IMAGE = buildImage();
const BLOB = generatedContent(3, 5000);

interface Setup {
  registry: TestRegistry;
  repository: Repository;
}

function setUp(registryOptions: RegistryOptions = {}, options: RegistriesOptions = {}): Setup {
  const registry = createRegistry(registryOptions);
  pushImage(registry, "a/b", "v1", IMAGE);
  registry.state.addBlob("a/b", BLOB);
  const registries = new Registries({ fetchFor: () => registry.fetch, clock: new FakeClock(), ...options });
  return { registry, repository: registries.open({ registry: REGISTRY, repository: "a/b" }, "pull,push") };
}

/** A registry that gives one answer to everything but pings. */
function answering(make: () => Response): Setup {
  return setUp({ intercept: (_request, { kind }) => kind === "ping" ? undefined : make() });
}

function manifestAnswer(bytes: BodyInit, headers: Record<string, string> = {}): () => Response {
  return () => new Response(bytes, { headers: { "content-type": MEDIA_TYPE_OCI_MANIFEST, ...headers } });
}

async function listAll(repository: Repository): Promise<string[]> {
  const tags: string[] = [];
  for await (const page of repository.listTags()) tags.push(...page);
  return tags;
}

async function openSession(repository: Repository, digest = BLOB.digest): Promise<UploadSession> {
  const opening = await repository.openUpload(digest);
  assert(opening.type === "opened");
  return opening.session;
}

/** A server that stops in the middle of an answer, as often as told, and then gives all of it. */
function breaking(image: Image, times: number): RawServer {
  let left = times;
  return new RawServer(async ({ reply, write }) => {
    const head = `HTTP/1.1 200 OK\r\ncontent-type: ${image.mediaType}\r\n` +
      `docker-content-digest: ${image.digest}\r\ncontent-length: ${image.bytes.length}\r\n\r\n`;
    if (left-- <= 0) return await reply(200, { "content-type": image.mediaType }, image.bytes);
    await write(head);
    await write(image.bytes.subarray(0, 20));
  });
}

Deno.test("Repository.resolve() gives type, digest and size by HEAD alone", async () => {
  const { registry, repository } = setUp();
  const expected = { mediaType: IMAGE.mediaType, digest: IMAGE.digest, size: IMAGE.bytes.length };
  assertEquals(await repository.resolve("v1"), expected);
  assertEquals(await repository.resolve(IMAGE.digest), expected);
  assertEquals(await repository.resolve("none"), undefined);
  assertEquals(registry.count({ method: "GET", kind: "manifest" }), 0);
});

Deno.test("Repository.resolve() asks with GET where HEAD lacks the digest or names no manifest type", async () => {
  const headless = setUp({ quirks: { headWithoutDigest: true, headWithoutLength: true } });
  assertEquals((await headless.repository.resolve("v1"))?.digest, IMAGE.digest);
  assertEquals((await headless.repository.resolve("v1"))?.size, IMAGE.bytes.length);
  const plain = setUp({
    intercept: async (request, { kind, next }) => {
      if (kind !== "manifest") return undefined;
      const response = await next();
      response.headers.set("content-type", "text/plain");
      return request.method === "HEAD" ? new Response(null, response) : response;
    },
  });
  assertEquals((await plain.repository.resolve("v1"))?.mediaType, IMAGE.mediaType);
});

Deno.test("Repository.resolve() gives size -1 where HEAD does not say it", async () => {
  const { repository } = setUp({ quirks: { headWithoutLength: true } });
  assertEquals((await repository.resolve("v1"))?.size, -1);
});

Deno.test("Repository.resolve() refuses a registry that answers with another digest", async () => {
  const other = buildImage({ seed: 2 });
  const { repository } = answering(manifestAnswer("", { "docker-content-digest": other.digest }));
  const error = await assertRejects(() => repository.resolve(IMAGE.digest), DigestError);
  assertEquals([error.expected, error.actual], [IMAGE.digest, other.digest]);
});

Deno.test("Repository.getManifest() gives the bytes as served, whatever their type", async () => {
  const { registry, repository } = setUp();
  const images = [IMAGE, buildImage({ seed: 5, format: "docker" }), buildIndex([IMAGE]), buildSchema1()];
  for (const image of images) {
    pushImage(registry, "a/b", "tag", image);
    for (const reference of ["tag", image.digest]) {
      const content = await repository.getManifest(reference);
      assertEquals(content.bytes, image.bytes);
      assertEquals(content.descriptor, {
        mediaType: image.mediaType,
        digest: image.digest,
        size: image.bytes.length,
      });
    }
  }
});

Deno.test("Repository.getManifest() and resolve() accept the same types", async () => {
  const accepts: (string | null)[] = [];
  const { repository } = setUp({
    intercept: (request, { kind }) => {
      if (kind === "manifest") accepts.push(request.headers.get("accept"));
      return undefined;
    },
  });
  await repository.resolve("v1");
  await repository.getManifest("v1");
  assertEquals(accepts, Array(2).fill(MANIFEST_MEDIA_TYPES.join(", ")));
});

Deno.test("Repository.getManifest() trusts no bytes but those of the digest", async () => {
  const changed = new TextEncoder().encode(new TextDecoder().decode(IMAGE.bytes).replace("1024", "1025"));
  const byDigest = answering(manifestAnswer(changed));
  await assertRejects(() => byDigest.repository.getManifest(IMAGE.digest), DigestError);
  const byTag = answering(manifestAnswer(changed, { "docker-content-digest": IMAGE.digest }));
  await assertRejects(() => byTag.repository.getManifest("v1"), DigestError);
  const lying = answering(manifestAnswer(changed, { "docker-content-digest": digestBytes(changed) }));
  await assertRejects(() => lying.repository.getManifest(IMAGE.digest), DigestError);
  const silent = answering(manifestAnswer(changed));
  assertEquals((await silent.repository.getManifest("v1")).descriptor.digest, digestBytes(changed));
});

Deno.test("Repository.getManifest() notices a changed payload of schema 1", async () => {
  const image = buildSchema1();
  const text = new TextDecoder().decode(image.bytes).replace('"amd64"', '"arm64"');
  const { repository } = answering(manifestAnswer(text, { "content-type": image.mediaType }));
  await assertRejects(() => repository.getManifest(image.digest), DigestError);
});

Deno.test("Repository.getManifest() refuses bytes that read as image and as index", async () => {
  const bytes = encodeJson({ schemaVersion: 2, config: {}, layers: [], manifests: [] });
  for (const type of [MEDIA_TYPE_OCI_MANIFEST, "application/vnd.oci.image.index.v1+json"]) {
    const { repository } = answering(manifestAnswer(bytes, { "content-type": type }));
    await assertRejects(() => repository.getManifest(digestBytes(bytes)), ManifestError, "both");
  }
});

Deno.test("Repository.getManifest() reads no more than 4 MiB", async () => {
  let given = 0;
  const body = () =>
    new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull(controller) {
        given += 65_536;
        controller.enqueue(new Uint8Array(65_536));
      },
    }, { highWaterMark: 0 });
  const { repository } = answering(() => new Response(body()));
  const error = await assertRejects(() => repository.getManifest("v1"), RegistryError);
  assertEquals(
    error.message,
    `Cannot read manifest of "registry.test/a/b:v1": it is larger than 4194304 bytes`,
  );
  assert(error.isPermanent && given < 5 * 1024 * 1024, `${given}`);
});

Deno.test("Repository.getManifest() says of which image it got a web page", async () => {
  const page = () =>
    new Response("<html>Please sign in</html>", { headers: { "content-type": "text/html" } });
  for (const act of ["resolve", "getManifest"] as const) {
    const { repository } = answering(page);
    const error = await assertRejects(() => repository[act]("v1"), ManifestError);
    assertEquals(
      error.message,
      `Cannot read manifest "registry.test/a/b:v1": not JSON but a web page (text/html)`,
    );
  }
});

Deno.test("Repository.getManifest() repeats the registry's refusal with the whole reference", async () => {
  const { repository } = setUp();
  const error = await assertRejects(() => repository.getManifest("none"), RegistryError);
  assertEquals(
    error.message,
    `Cannot read manifest of "registry.test/a/b:none": 404 MANIFEST_UNKNOWN: manifest unknown`,
  );
});

Deno.test("Repository.getManifest() says which image it was when the answer breaks off", async () => {
  await using server = breaking(IMAGE, 100);
  const registries = new Registries({ isInsecure: () => true, clock: new FakeClock() });
  const repository = registries.open({ registry: server.host, repository: "a/b" }, "pull");
  const error = await assertRejects(() => repository.getManifest("v1"), RegistryError);
  assertEquals(
    error.message,
    `Cannot read manifest of "${server.host}/a/b:v1": the connection was closed too early (${server.host})`,
  );
  assertEquals(error.retry, "later");
});

Deno.test("Repository.getManifest() asks again when an answer breaks off", async () => {
  await using server = breaking(IMAGE, 3);
  const clock = new FakeClock();
  const registries = new Registries({ isInsecure: () => true, clock });
  const repository = registries.open({ registry: server.host, repository: "a/b" }, "pull");
  assertEquals((await repository.getManifest("v1")).bytes, IMAGE.bytes);
  assertEquals([server.requests.length, clock.waits.length], [4, 3]);
});

Deno.test("Repository.putManifest() asks a registry that does not say what it stored", async () => {
  const content = await parseContent(IMAGE.bytes, IMAGE.mediaType);
  const silent: Intercept = async (request, { kind, next }) => {
    if (kind !== "manifest" || request.method !== "PUT") return undefined;
    const response = await next();
    response.headers.delete("docker-content-digest");
    return response;
  };
  const { registry, repository } = setUp({ intercept: silent });
  await repository.putManifest("v2", content);
  assertEquals(registry.requests.at(-1)?.method, "HEAD");
  const page = setUp({
    intercept: (request, { kind }) =>
      kind === "manifest" && request.method === "PUT" ? new Response("<html>Sign in</html>") : undefined,
  });
  await assertRejects(() => page.repository.putManifest("v2", content), DigestError, `got "nothing"`);
});

Deno.test("Repository.getManifest() ends with the signal in the middle of an answer", async () => {
  const { promise: started, resolve } = Promise.withResolvers<void>();
  const { repository } = answering(() =>
    new Response(
      new ReadableStream({
        pull() {
          resolve();
          return new Promise(() => {});
        },
      }, { highWaterMark: 0 }),
    )
  );
  const controller = new AbortController();
  const reading = repository.getManifest("v1", { signal: controller.signal });
  await started;
  const reason = new Error("enough");
  const abortedAt = performance.now();
  controller.abort(reason);
  assertStrictEquals(await assertRejects(() => reading), reason);
  assert(performance.now() - abortedAt < 5000, "it was the limit on stalls that ended it");
});

Deno.test("Repository.putManifest() stores the bytes under tag and digest with their type", async () => {
  const { registry, repository } = setUp();
  const content = await parseContent(IMAGE.bytes, IMAGE.mediaType);
  for (const reference of ["v2", IMAGE.digest]) {
    await repository.putManifest(reference, content);
    const stored = registry.repositories.get("a/b")?.findManifest(reference);
    assertEquals([stored?.bytes, stored?.mediaType], [IMAGE.bytes, IMAGE.mediaType]);
  }
  assertEquals(registry.requests.at(-1)?.contentLength, IMAGE.bytes.length);
});

Deno.test("Repository.putManifest() sends the bytes again when it tries again", async () => {
  const fails: Intercept = (request, { kind, count }) =>
    kind === "manifest" && request.method === "PUT" && count < 3
      ? new Response(null, { status: 502 })
      : undefined;
  const { registry, repository } = setUp({ intercept: fails });
  await repository.putManifest("v2", await parseContent(IMAGE.bytes, IMAGE.mediaType));
  assertEquals(registry.repositories.get("a/b")?.findManifest("v2")?.bytes, IMAGE.bytes);
  assertEquals(registry.count({ method: "PUT" }), 3);
});

Deno.test("Repository.putManifest() notices that something else was stored", async () => {
  const { repository } = answering(() =>
    new Response(null, { status: 201, headers: { "docker-content-digest": BLOB.digest } })
  );
  const content = await parseContent(IMAGE.bytes, IMAGE.mediaType);
  const error = await assertRejects(() => repository.putManifest("v2", content), DigestError);
  assertEquals([error.expected, error.actual], [IMAGE.digest, BLOB.digest]);
});

Deno.test("Repository.putManifest() tells which blobs the registry lacks", async () => {
  const { repository } = setUp();
  const other = buildImage({ seed: 9 });
  const content = await parseContent(other.bytes, other.mediaType);
  const error = await assertRejects(() => repository.putManifest("v2", content), RegistryError);
  assert(error.hasCode("MANIFEST_BLOB_UNKNOWN"));
});

Deno.test("Repository.hasBlob() tells whether a blob is there, and nothing of a refusal", async () => {
  const { repository } = setUp();
  assert(await repository.hasBlob(BLOB.digest));
  assert(!await repository.hasBlob(`sha256:${"0".repeat(64)}`));
  const refusing = answering(() => new Response(null, { status: 403 }));
  const error = await assertRejects(() => refusing.repository.hasBlob(BLOB.digest), RegistryError);
  assertEquals(
    error.message,
    `Cannot check blob "${BLOB.digest}" in "registry.test/a/b": 403 access denied (anonymous)`,
  );
});

Deno.test("Repository.getBlob() gives a blob, or the rest of it", async () => {
  const { registry, repository } = setUp();
  assertEquals((await (await repository.getBlob(BLOB.digest)).bytes()).length, 5000);
  const rest = await repository.getBlob(BLOB.digest, { offset: 4000 });
  assertEquals([rest.status, rest.headers.get("content-range")], [206, "bytes 4000-4999/5000"]);
  assertEquals(await rest.bytes(), (await readAll(BLOB.stream())).slice(4000));
  assertEquals(registry.requests.at(-1)?.range, "bytes=4000-");
});

Deno.test("Repository.openUpload() mounts, opens, or sends at once", async () => {
  const { registry, repository } = setUp();
  const other = generatedContent(8, 100);
  registry.state.addBlob("c/d", other);
  assertEquals(await repository.openUpload(other.digest, { mountFrom: "c/d" }), { type: "mounted" });
  assertEquals((await repository.openUpload(BLOB.digest, { mountFrom: "not/there" })).type, "opened");
  const small = generatedContent(9, 10);
  const bytes = await readAll(small.stream());
  assertEquals(await repository.openUpload(small.digest, { bytes }), { type: "stored" });
  assert(await repository.hasBlob(small.digest));
  registry.quirks.noSinglePost = true;
  const next = generatedContent(10, 10);
  const opening = await repository.openUpload(next.digest, { bytes: await readAll(next.stream()) });
  assertEquals(opening.type, "opened");
});

Deno.test("Repository.openUpload() sends a Content-Length of 0", async () => {
  await using server = new RawServer((exchange) => exchange.reply(202, { location: "/v2/up?x=1" }));
  const registries = new Registries({ isInsecure: () => true, clock: new FakeClock() });
  const opening = await registries.open({ registry: server.host, repository: "a/b" }, "pull,push").openUpload(
    BLOB.digest,
  );
  assertEquals(server.requests[0]?.headers.get("content-length"), "0");
  assertEquals(opening, {
    type: "opened",
    session: { location: `http://${server.host}/v2/up?x=1`, chunkMinimum: undefined },
  });
});

Deno.test("Repository.openUpload() knows how large chunks must be", async () => {
  const { repository } = setUp({ quirks: { chunkMinLength: 4096 } });
  assertEquals((await openSession(repository)).chunkMinimum, 4096);
});

Deno.test("Repository.openUpload() takes relative and absolute locations, and mends those of a proxy", async () => {
  const cases: [string, string][] = [
    ["/v2/up/1?s=2", "https://registry.test/v2/up/1?s=2"],
    ["up/1", "https://registry.test/v2/a/b/blobs/uploads/up/1"],
    ["https://registry.test/v2/up", "https://registry.test/v2/up"],
    ["http://registry.test/v2/up", "https://registry.test/v2/up"],
    ["http://registry.test:5000/v2/up", "https://registry.test/v2/up"],
    ["https://storage.test/up?sig=1", "https://storage.test/up?sig=1"],
  ];
  for (const [location, expected] of cases) {
    const { repository } = answering(() => new Response(null, { status: 202, headers: { location } }));
    assertEquals((await openSession(repository)).location, expected, location);
  }
});

Deno.test("Repository.openUpload() refuses locations that it must not follow", async () => {
  const cases: [Record<string, string>, string][] = [
    [{}, "the answer does not say where to upload to"],
    [{ location: "https://" }, "where to upload to is not a URL"],
    [{ location: "http://storage.test/up" }, "it wants the upload to go on without TLS"],
    [{ location: "ftp://storage.test/up" }, "it wants the upload to go on without TLS"],
    [{ location: "https://u:p@registry.test/up" }, "where to upload to has a user name in it"],
  ];
  for (const [headers, why] of cases) {
    const { repository } = answering(() => new Response(null, { status: 202, headers }));
    const error = await assertRejects(() => repository.openUpload(BLOB.digest), RegistryError, why);
    assert(error.isPermanent);
  }
});

Deno.test("Repository.putBlob() adds the digest to the location and keeps its query", async () => {
  const { registry, repository } = setUp({ quirks: { uploadState: true, locationAbsolute: true } });
  const small = generatedContent(11, 100);
  const session = await openSession(repository, small.digest);
  await repository.putBlob(session, small.digest, { body: await readAll(small.stream()) });
  const { searchParams } = new URL(registry.requests.at(-1)?.path ?? "", "https://x");
  assertEquals([searchParams.get("_state"), searchParams.get("digest")], ["0", small.digest]);
  assert(await repository.hasBlob(small.digest));
});

Deno.test("Repository.putBlob() sends once, and repeats what the registry says of wrong bytes", async () => {
  const { registry, repository } = setUp();
  const session = await openSession(repository, `sha256:${"0".repeat(64)}`);
  const error = await assertRejects(
    () => repository.putBlob(session, `sha256:${"0".repeat(64)}`, { body: new Uint8Array(5) }),
    RegistryError,
  );
  assertEquals(error.status, 400);
  assertEquals(registry.count({ method: "PUT" }), 1);
  const failing = answering(() => new Response(null, { status: 503 }));
  await assertRejects(
    () => failing.repository.putBlob(session, BLOB.digest, { body: new Uint8Array(5) }),
    RegistryError,
  );
  assertEquals(failing.registry.count({ method: "PUT" }), 1);
});

Deno.test("Repository.putBlob() gives no credentials to another host, and answers no challenge of it", async () => {
  const asked: string[] = [];
  for (const isBasic of [true, false]) {
    const auth: RegistryOptions["auth"] = isBasic
      ? { type: "basic", username: "robot", password: "hunter2" }
      : { type: "bearer", users: { robot: { password: "hunter2" } } };
    const registry = createRegistry({ auth, quirks: { locationOrigin: "https://evil.test" } });
    const network = createNetwork({
      [`https://${REGISTRY}`]: registry.handler,
      "https://evil.test": (request) => {
        asked.push(`${request.method} ${request.headers.get("authorization")}`);
        const headers = { "www-authenticate": `Bearer realm="https://evil.test/token", Basic realm="x"` };
        return new Response(null, { status: 401, headers });
      },
    });
    const registries = new Registries({
      fetchFor: () => network,
      credentials: () => Promise.resolve({ username: "robot", password: "hunter2" }),
      clock: new FakeClock(),
    });
    const repository = registries.open({ registry: REGISTRY, repository: "a/b" }, "pull,push");
    const session = await openSession(repository);
    await assertRejects(
      () => repository.putBlob(session, BLOB.digest, { body: new Uint8Array(5) }),
      RegistryError,
      "401",
    );
    await repository.cancelUpload(session);
    assertEquals(await repository.uploadOffset(session), undefined);
  }
  assertEquals(asked, Array(2).fill(["PUT null", "DELETE null", "GET null"]).flat());
});

Deno.test("Repository.cancelUpload() asks once and lets a registry be that cannot", async () => {
  const { registry, repository } = setUp();
  await repository.cancelUpload(await openSession(repository));
  assertEquals(registry.repositories.get("a/b")?.uploads.size, 0);
  const failing = answering(() => new Response(null, { status: 500 }));
  await failing.repository.cancelUpload({ location: `https://${REGISTRY}/v2/up`, chunkMinimum: undefined });
  assertEquals(failing.registry.count({ method: "DELETE" }), 1);
});

Deno.test("Repository.uploadOffset() tells how far an upload is", async () => {
  const { repository } = setUp();
  const session = await openSession(repository);
  assertEquals(await repository.uploadOffset(session), 0);
  const unknown = setUp({ quirks: { noUploadStatus: true } });
  assertEquals(await unknown.repository.uploadOffset(await openSession(unknown.repository)), undefined);
});

Deno.test("Repository.listTags() gives all pages, relative and absolute, and asks for 1000 at most", async () => {
  const tags = Array.from({ length: 25 }, (_, index) => `t${String(index).padStart(2, "0")}`);
  for (
    const quirks of [{ pageSize: 10, maxPageParameter: 1000 }, { pageSize: 1, locationAbsolute: true }, {}]
  ) {
    const { registry, repository } = setUp({ quirks });
    for (const tag of tags) registry.repositories.get("a/b")?.tags.set(tag, IMAGE.digest);
    assertEquals(await listAll(repository), [...tags, "v1"]);
    for (const { path } of registry.requests.filter(({ kind }) => kind === "tags")) {
      assert(Number(new URL(path, "https://x").searchParams.get("n")) <= 1000);
    }
  }
});

Deno.test("Repository.listTags() reads what registries answer for no tags", async () => {
  for (const body of [`{"name":"a/b","tags":null}`, `{"name":"a/b"}`, `{"tags":[]}`]) {
    assertEquals(await listAll(answering(() => new Response(body)).repository), []);
  }
  assertEquals(await listAll(answering(() => new Response(`{"tags":["a",7,"b"]}`)).repository), ["a", "b"]);
});

Deno.test("Repository.listTags() refuses answers that are no list", async () => {
  const cases: [string, string][] = [
    ["<html>Sign in</html>", "the answer is not JSON"],
    [`{"tags":{}}`, "the answer has no list of tags"],
    [`{"message":"rate limited"}`, "the answer has no list of tags"],
    ["{}", "the answer has no list of tags"],
    ["[]", "the answer has no list of tags"],
    ["null", "the answer has no list of tags"],
  ];
  for (const [body, why] of cases) {
    const error = await assertRejects(
      () => listAll(answering(() => new Response(body)).repository),
      RegistryError,
    );
    assertEquals([error.message, error.isPermanent], [
      `Cannot list tags of "registry.test/a/b": ${why}`,
      true,
    ]);
  }
});

Deno.test("Repository.listTags() ends a listing that goes round", async () => {
  for (
    const link of [`</v2/a/b/tags/list?n=1000>; rel="next"`, `<?last=z>; rel=next`, `<list>; rel="next"`]
  ) {
    const { registry, repository } = answering(() => Response.json({ tags: ["a"] }, { headers: { link } }));
    await assertRejects(() => listAll(repository), RegistryError, "its list of tags does not end");
    assert(registry.count({ kind: "tags" }) <= 3);
  }
});

Deno.test("Repository.listTags() takes only the path of a link, and no path outside of the API", async () => {
  const credentials = () => Promise.resolve({ username: "robot", password: "hunter2" });
  const asked: string[] = [];
  const handler = (request: Request) => {
    const url = new URL(request.url);
    asked.push(url.href);
    const isFirst = !url.searchParams.has("last");
    const link = `<https://evil.test/v2/a/b/tags/list?last=a>; rel="next"`;
    return Response.json({ tags: [isFirst ? "a" : "b"] }, isFirst ? { headers: { link } } : {});
  };
  const registries = new Registries({
    fetchFor: () => createNetwork({ [`https://${REGISTRY}`]: handler }),
    credentials,
  });
  assertEquals(await listAll(registries.open({ registry: REGISTRY, repository: "a/b" }, "pull")), ["a", "b"]);
  assertEquals(asked.at(-1), "https://registry.test/v2/a/b/tags/list?last=a");
  for (const link of [`</admin>; rel="next"`, `</v2/../admin>; rel="next"`, `<//evil.test/x>; rel="next"`]) {
    const { repository } = answering(() => Response.json({ tags: [] }, { headers: { link } }));
    await assertRejects(() => listAll(repository), RegistryError, "leads elsewhere");
  }
});

Deno.test("Repository.listTags() finds the next page among other links", async () => {
  const links = [
    `</v2/a/b/tags/list?last=0>; rel="prev", </v2/a/b/tags/list?last=a,b>; rel="next"`,
    `</v2/a/b/tags/list?last=a,b>; title="x"; rel="next"`,
    `</v2/a/b/tags/list?last=a,b>;REL=next`,
  ];
  for (const link of links) {
    const { registry, repository } = setUp({
      intercept: (_request, { kind, count }) => {
        if (kind !== "tags") return undefined;
        return Response.json({ tags: [`${count}`] }, count === 1 ? { headers: { link } } : {});
      },
    });
    assertEquals(await listAll(repository), ["1", "2"]);
    assertEquals(registry.requests.at(-1)?.path, "/v2/a/b/tags/list?last=a,b");
  }
  const other = answering(() => Response.json({ tags: [] }, { headers: { link: `</x>; rel="last"` } }));
  assertEquals(await listAll(other.repository), []);
});

Deno.test("Repository.listTags() asks again for a page that breaks off", async () => {
  let breaks = 2;
  await using server = new RawServer(async ({ reply, write }) => {
    if (breaks-- <= 0) return await reply(200, {}, `{"tags":["a","b"]}`);
    await write(`HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{"tags":["a"`);
  });
  const registries = new Registries({ isInsecure: () => true, clock: new FakeClock() });
  assertEquals(await listAll(registries.open({ registry: server.host, repository: "a/b" }, "pull")), [
    "a",
    "b",
  ]);
  assertEquals(server.requests.length, 3);
});

Deno.test("Repository.listTags() gives each page as it comes", async () => {
  const { registry, repository } = setUp({ quirks: { pageSize: 1 } });
  registry.repositories.get("a/b")?.tags.set("v2", IMAGE.digest);
  for await (const page of repository.listTags()) {
    assertEquals(page, ["v1"]);
    break;
  }
  assertEquals(registry.count({ kind: "tags" }), 1);
});

Deno.test("fault 45: Repository.listTags() ends a listing of ever new pages", async () => {
  let page = 0;
  const { repository } = answering(() => {
    const link = `</v2/a/b/tags/list?last=${++page}>; rel="next"`;
    return Response.json({ tags: [`t${page}`] }, { headers: { link } });
  });
  await assertRejects(() => listAll(repository), RegistryError, "its list of tags does not end");
  assertEquals(page, 10_001);
  const names = new TextEncoder().encode(JSON.stringify({ tags: Array(250_000).fill("v1") }));
  const list = new TagList("a/b");
  const take = (last: number) => list.take(names, new Headers({ link: `<?last=${last}>; rel="next"` }));
  for (let last = 0; last < 8; last++) take(last);
  assertThrows(() => take(9), SyntaxError, "does not end");
});

Deno.test("fault 45: Repository.listTags() ends a listing that goes round in a wide circle", async () => {
  let page = 0;
  const { repository } = answering(() => {
    const link = `</v2/a/b/tags/list?last=${++page % 7}>; rel="next"`;
    return Response.json({ tags: [`t${page}`] }, { headers: { link } });
  });
  await assertRejects(() => listAll(repository), RegistryError, "its list of tags does not end");
  assert(page < 30, `${page}`);
});

Deno.test("fault 53: Repository names the encoding and the kind of an answer that is no JSON", async () => {
  const packed = new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3]);
  const zstd = answering(manifestAnswer(packed, { "content-encoding": "zstd" })).repository;
  const why = `the answer came with content-encoding "zstd", which was not asked for`;
  await assertRejects(() => zstd.getManifest("v1"), RegistryError, why);
  await assertRejects(() => listAll(zstd), RegistryError, why);
  const page = () => new Response("<html>", { headers: { "content-type": "text/html; charset=utf-8" } });
  const why2 = "the answer is not JSON but a web page (text/html)";
  await assertRejects(() => listAll(answering(page).repository), RegistryError, why2);
});

Deno.test("fault 53: Repository reads no more of a compressed answer than of a plain one", async () => {
  const bomb = await new Response(
    new Blob([new Uint8Array(5 * 1024 * 1024)]).stream().pipeThrough(new CompressionStream("gzip")),
  ).bytes();
  const { repository } = answering(manifestAnswer(bomb, { "content-encoding": "gzip" }));
  await assertRejects(() => repository.getManifest("v1"), RegistryError, "it is larger than 4194304 bytes");
});

Deno.test("fault 61: Repository.putBlob() gives the query of a location back as it was", async () => {
  const queries = ["sig=it%27s~x", "_state=ab+cd==", "sig=a%20b", "k=a:b/c", "a=1;b=2", "k=%e4", "k=a*b(c)"];
  for (const query of queries) {
    const { registry, repository } = setUp();
    const session = await openSession(repository);
    session.location += `?${query}`;
    const body = BLOB.stream(0, BLOB.size);
    await repository.putBlob(session, BLOB.digest, { body: new Uint8Array(await readAll(body)) });
    const { path } = registry.requests.at(-1) ?? { path: "" };
    assertEquals(path.slice(path.indexOf("?") + 1), `${query}&digest=${encodeURIComponent(BLOB.digest)}`);
  }
});

Deno.test("fault 61: Repository.putBlob() tells its fetch of a query that URL spells otherwise, on the first hop alone", async () => {
  const { registry, repository } = setUp();
  const session = await openSession(repository);
  const queries: (string | undefined)[] = [];
  const other = new Registries({
    fetchFor: () => (url, init) => {
      queries.push(init.query);
      return registry.fetch(url, init);
    },
  }).open({ registry: REGISTRY, repository: "a/b" }, "pull,push");
  const location = resolveLocation(`${session.location}?k='q'`, new URL("https://registry.test"));
  await other.putBlob(
    { ...session, location },
    BLOB.digest,
    { body: new Uint8Array(await readAll(BLOB.stream(0, BLOB.size))) },
  );
  assertEquals(queries, [undefined, `?k='q'&digest=${encodeURIComponent(BLOB.digest)}`]);
});

Deno.test("fault 72: resolveLocation() stays with a registry without TLS that names itself with it", () => {
  const base = new URL("http://registry.test:5000");
  const names = [
    "https://registry.test:5000/u?a",
    "https://registry.test/u?a",
    "http://registry.test:5000/u?a#x",
  ];
  for (const location of names) {
    assertEquals(resolveLocation(location, base), "http://registry.test:5000/u?a");
  }
  assertEquals(resolveLocation("https://registry.test:8443/u", base), "https://registry.test:8443/u");
  assertEquals(resolveLocation("https://other.test/u", base), "https://other.test/u");
});

Deno.test("Repository.listReferrers() gives what belongs to a digest over all pages, filtered by type", async () => {
  for (const quirks of [{}, { referrersPageSize: 2 }, { referrersPageSize: 2, noReferrersFilter: true }]) {
    const { registry, repository } = setUp({ quirks });
    const artifacts = [1, 2, 3, 4, 5].map((seed) =>
      buildArtifact({ seed, artifactType: `test/${seed % 2}`, subject: IMAGE })
    );
    for (const artifact of artifacts) pushImage(registry, "a/b", undefined, artifact);
    const all = await repository.listReferrers(IMAGE.digest);
    assertEquals(all?.map(({ digest }) => digest), artifacts.map(({ digest }) => digest));
    const some = await repository.listReferrers(IMAGE.digest, { artifactType: "test/0" });
    assertEquals(some?.map(({ artifactType }) => artifactType), ["test/0", "test/0"]);
    assertEquals(await repository.listReferrers(BLOB.digest), []);
  }
});

Deno.test("Repository.listReferrers() gives nothing at all where the registry has no such list", async () => {
  assertEquals(
    await setUp({ quirks: { noReferrers: true } }).repository.listReferrers(IMAGE.digest),
    undefined,
  );
  for (const status of [405, 406, 501]) {
    const { repository } = answering(() => new Response(null, { status }));
    assertEquals(await repository.listReferrers(IMAGE.digest), undefined);
  }
  const page = () => new Response("<html>", { headers: { "content-type": "text/html" } });
  assertEquals(await answering(page).repository.listReferrers(IMAGE.digest), undefined);
  const empty = () => Response.json({ schemaVersion: 2, manifests: null });
  assertEquals(await answering(empty).repository.listReferrers(IMAGE.digest), []);
});

Deno.test("Repository.listReferrers() asks a registry without such a list once", async () => {
  const { registry, repository } = setUp({ quirks: { noReferrers: true } });
  for (let time = 0; time < 3; time++) assertEquals(await repository.listReferrers(IMAGE.digest), undefined);
  assertEquals(registry.count({ kind: "referrers" }), 1);
  const error = { errors: [{ code: "NAME_UNKNOWN", message: "repository name not known to registry" }] };
  let hasList = false;
  const later = answering(() =>
    hasList ? Response.json({ schemaVersion: 2, manifests: [] }) : Response.json(error, { status: 404 })
  );
  assertEquals(await later.repository.listReferrers(IMAGE.digest), undefined);
  hasList = true;
  assertEquals(await later.repository.listReferrers(IMAGE.digest), []);
  hasList = false;
  assertEquals(await later.repository.listReferrers(IMAGE.digest), []);
});

Deno.test("fault 52: Repository.listTags() asks a registry that refuses n=1000 with it once", async () => {
  const { registry, repository } = setUp({ quirks: { maxPageParameter: 100 } });
  for (let time = 0; time < 3; time++) assertEquals(await listAll(repository), ["v1"]);
  const paths = registry.requests.filter(({ kind }) => kind === "tags").map(({ path }) => path);
  assertEquals(paths.map((path) => path.includes("n=1000")), [true, false, false, false]);
  const broken = answering(() => new Response(null, { status: 400 }));
  for (let time = 0; time < 2; time++) {
    await assertRejects(() => listAll(broken.repository), RegistryError, "400");
  }
  assertEquals(broken.registry.count({ kind: "tags" }), 4);
});

Deno.test("Repository.listReferrers() refuses what is no list, with the registry's own words", async () => {
  const list = (body: unknown, init?: ResponseInit) =>
    answering(() => Response.json(body, init)).repository.listReferrers(IMAGE.digest);
  const errors = { errors: [{ code: "UNAVAILABLE", message: "index rebuilding" }] };
  await assertRejects(() => list(errors), RegistryError, "200 UNAVAILABLE: index rebuilding");
  await assertRejects(() => list({}), ManifestError, `it has no list "manifests"`);
  await assertRejects(() => list({ manifests: [{ digest: "x" }] }), ManifestError, "no valid digest");
  await assertRejects(() => list(errors, { status: 403 }), RegistryError, "403");
  let page = 0;
  const { repository } = answering(() => {
    const headers = { link: `<?page=${++page}>; rel="next"` };
    return Response.json({ schemaVersion: 2, manifests: [] }, { headers });
  });
  await assertRejects(() => repository.listReferrers(IMAGE.digest), RegistryError, "does not end");
  assertEquals(page, 1000);
  const round = answering(() => {
    const headers = { link: `<?page=${page++ % 3}>; rel="next"` };
    return Response.json({ schemaVersion: 2, manifests: [] }, { headers });
  });
  await assertRejects(() => round.repository.listReferrers(IMAGE.digest), RegistryError, "does not end");
  assert(round.registry.count({ kind: "referrers" }) < 6);
});

Deno.test("Repository.deleteManifest() deletes tags and digests, and says whether there was anything", async () => {
  const { registry, repository } = setUp();
  assertEquals(await repository.deleteManifest("v1"), true);
  assertEquals(await repository.deleteManifest("v1"), false);
  assertEquals(registry.state.repository("a/b").findManifest(IMAGE.digest)?.digest, IMAGE.digest);
  assertEquals(await repository.deleteManifest(IMAGE.digest), true);
  assertEquals(await repository.resolve(IMAGE.digest), undefined);
  const refusing = setUp({ quirks: { refuseTagDelete: true } }).repository;
  await assertRejects(
    () => refusing.deleteManifest("v1"),
    RegistryError,
    `Cannot delete "registry.test/a/b:v1": 405`,
  );
});

Deno.test("Repository.deleteManifest() asks for a token that may delete", async () => {
  const users = { robot: { password: "hunter2", rights: { "a/b": ["pull", "push", "delete"] } } };
  const { repository } = setUp({ auth: { type: "bearer", users } }, {
    credentials: () => Promise.resolve({ username: "robot", password: "hunter2" }),
  });
  assertEquals((await repository.resolve("v1"))?.digest, IMAGE.digest);
  assertEquals(await repository.deleteManifest("v1"), true);
});

Deno.test("Repository.putManifest() tells under which subject a manifest was filed", async () => {
  const artifact = buildArtifact({ subject: IMAGE });
  const content = await parseContent(artifact.bytes, artifact.mediaType);
  for (const noReferrers of [false, true]) {
    const { registry, repository } = setUp({ quirks: { noReferrers } });
    for (const blob of artifact.blobs.values()) registry.state.addBlob("a/b", blob);
    const { subject } = await repository.putManifest(artifact.digest, content);
    assertEquals(subject, noReferrers ? undefined : IMAGE.digest);
  }
});

Deno.test("Repository.putManifest() overwrites only what it has seen, where it is told to", async () => {
  const { registry, repository } = setUp();
  const { etag, ...content } = await repository.getManifest("v1");
  assertEquals(etag, `"${IMAGE.digest}"`);
  await repository.putManifest("v1", content, { ifMatch: etag });
  registry.repositories.get("a/b")?.tags.set("v1", BLOB.digest);
  const error = await assertRejects(
    () => repository.putManifest("v1", content, { ifMatch: etag }),
    RegistryError,
  );
  assertEquals(error.status, 412);
});

Deno.test("fault 75: Repository.putManifest() names the type where a registry takes none of it", async () => {
  const content = await parseContent(IMAGE.bytes, IMAGE.mediaType);
  const put = (body: BodyInit | null, status: number) =>
    answering(() => new Response(body, { status })).repository.putManifest("v2", content);
  const type = `(it was pushed as "${IMAGE.mediaType}")`;
  await assertRejects(() => put(null, 415), RegistryError, `415 media type not supported ${type}`);
  const errors = JSON.stringify({ errors: [{ code: "MANIFEST_INVALID", message: "manifest invalid" }] });
  const error = await assertRejects(() => put(errors, 400), RegistryError);
  assert(error.message.endsWith(`400 MANIFEST_INVALID: manifest invalid ${type}`), error.message);
  assertEquals([error.status, error.hasCode("MANIFEST_INVALID"), error.isPermanent], [400, true, true]);
});

Deno.test("Repository.describe() writes references as users do", () => {
  const { repository } = setUp();
  assertEquals(repository.describe("v1"), "registry.test/a/b:v1");
  assertEquals(repository.describe(BLOB.digest), `registry.test/a/b@${BLOB.digest}`);
  assertEquals(repository.registry.host, REGISTRY);
});
