/** Tests of who brings a blob: nobody brings twice what somebody is bringing. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { Claims } from "../src/mirror/copy/claims.ts";
import { Destination } from "../src/mirror/copy/destination.ts";
import { Presence } from "../src/mirror/copy/presence.ts";
import { Registries } from "../src/registry/registries.ts";
import { buildImage, buildIndex, buildLayer, pushImage } from "./images.ts";
import {
  assertHolds,
  assertSentOnce,
  DESTINATION,
  mountsAt,
  setUpMirror,
  SOURCE,
  uploadsTo,
} from "./mirror_setup.ts";
import { bytesContent } from "./registry.ts";

const DIGEST = buildLayer(1).digest;
const REGISTRIES = new Registries();

function destination(repository: string, registry = DESTINATION): Destination {
  const reference = { registry, repository, tag: "v1" };
  return new Destination(reference, REGISTRIES.open({ registry, repository }, "pull,push"));
}

Deno.test("Claims.lead() is seen in its repository and in its registry by everyone", () => {
  const presence = new Presence();
  const [one, other, elsewhere] = [destination("a"), destination("b"), destination("a", SOURCE)];
  new Claims(presence, DIGEST).lead(one);
  const claims = new Claims(presence, DIGEST);
  assert(claims.flightTo(one.repository) !== undefined);
  assertEquals(claims.flightTo(other.repository), undefined);
  assert(claims.flightToRegistry(other.repository) !== undefined);
  assertEquals(claims.flightToRegistry(elsewhere.repository), undefined);
  assertEquals(new Claims(presence, buildLayer(2).digest).flightTo(one.repository), undefined);
});

Deno.test("Claims.claim() is seen in its repository alone", () => {
  const presence = new Presence();
  const claims = new Claims(presence, DIGEST);
  claims.claim(destination("a"));
  assert(claims.flightTo(destination("a").repository) !== undefined);
  assertEquals(claims.flightToRegistry(destination("a").repository), undefined);
});

Deno.test("Claims.settle() tells who waits how it ended, and then there is no claim", async () => {
  const presence = new Presence();
  const claims = new Claims(presence, DIGEST);
  const [good, bad] = [destination("good"), destination("bad")];
  claims.claim(good);
  claims.lead(bad);
  const waiting = claims.flightTo(good.repository);
  const failing = claims.flightTo(bad.repository) ?? Promise.resolve();
  bad.fail(new Error("no room"));
  claims.settle(good);
  claims.settle(bad);
  await waiting;
  await assertRejects(() => failing, Error, "no room");
  assertEquals(claims.flightTo(good.repository), undefined);
  assertEquals(claims.flightToRegistry(bad.repository), undefined);
});

Deno.test("mirror() reads and sends a blob that many tags share once", async () => {
  const setup = setUpMirror();
  const shared = buildLayer(100, 5000);
  const images = Array.from(
    { length: 20 },
    (_, seed) => buildImage({ seed, layers: [shared, buildLayer(seed)] }),
  );
  for (const [index, image] of images.entries()) pushImage(setup.source, "from/image", `t${index}`, image);
  const report = await setup.run({ [`${SOURCE}/from/image`]: `${DESTINATION}/to/image` });
  assertEquals(report.totals.copied, 20);
  assertSentOnce(setup.destination);
  const path = `/v2/from/image/blobs/${shared.digest}`;
  assertEquals(setup.source.requests.filter((one) => one.path === path).length, 1);
});

Deno.test("mirror() brings a child that many indexes share once", async () => {
  const setup = setUpMirror();
  const shared = buildImage({ seed: 1 });
  for (let seed = 2; seed < 12; seed++) {
    const index = buildIndex([shared, buildImage({ seed })]);
    pushImage(setup.source, "from/image", `t${seed}`, index);
  }
  const report = await setup.run({ [`${SOURCE}/from/image`]: `${DESTINATION}/to/image` });
  assertEquals(report.totals.copied, 10);
  const of = (path: string) => ({ path: `${path}/manifests/${shared.digest}` });
  const gets = setup.source.requests.filter(({ path }) => path === of("/v2/from/image").path);
  const puts = setup.destination.requests.filter(({ path }) => path === of("/v2/to/image").path);
  assertEquals([gets.length, puts.length], [1, 1]);
});

Deno.test("mirror() sends a blob once to a registry and mounts it in its other repositories", async () => {
  const setup = setUpMirror();
  const base = [buildLayer(100, 5000), buildLayer(101, 5000)];
  const rules: Record<string, string> = {};
  for (let seed = 0; seed < 10; seed++) {
    const image = buildImage({ seed, layers: [...base, buildLayer(seed)] });
    pushImage(setup.source, `from/r${seed}`, "v1", image);
    rules[`${SOURCE}/from/r${seed}:v1`] = `${DESTINATION}/to/r${seed}`;
  }
  const report = await setup.run(rules);
  assertEquals(report.totals.copied, 10);
  for (const { digest } of base) {
    assertEquals(uploadsTo(setup.destination).filter((one) => one.digest === digest).length, 1);
    assertEquals(mountsAt(setup.destination).filter((one) => one.digest === digest).length, 9);
  }
  assertEquals(report.bytes.mounted, 2 * 9 * 5000);
});

Deno.test("copyBlob() brings a blob itself when the repository it would have mounted it from got none", async () => {
  const setup = setUpMirror({
    destination: {
      intercept: (request, { kind, repository }) =>
        kind === "upload" && repository === "to/full"
          ? new Response(request.method, { status: 403 })
          : undefined,
    },
  });
  const image = buildImage();
  pushImage(setup.source, "from/image", "v1", image);
  const destinations = ["to/full", "to/one", "to/two"].map((name) => `${DESTINATION}/${name}`);
  const report = await setup.run({ [`${SOURCE}/from/image:v1`]: destinations });
  assertEquals(report.totals.copied, 2);
  assertEquals(report.totals.failed, 1);
  assertHolds(setup.destination, "to/one", "v1", image);
  assertHolds(setup.destination, "to/two", "v1", image);
});

Deno.test("copyBlob() does not fail for another source's bad copy of the same blob", async () => {
  const layer = buildLayer(1);
  const [isLeading, isFollowing] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const setup = setUpMirror({
    source: {
      intercept: async ({ method }, { kind, repository, reference }) => {
        if (method !== "GET") return undefined;
        // The good image begins when the bad one has claimed the layer, whose bytes come when the good one waits for it.
        if (kind === "manifest" && repository === "good/image") await isLeading.promise;
        if (kind !== "blob" || repository !== "bad/image" || reference !== layer.digest) return undefined;
        isLeading.resolve();
        await isFollowing.promise;
        return undefined;
      },
    },
  });
  const [bad, good] = [buildImage({ seed: 1, layers: [layer] }), buildImage({ seed: 2, layers: [layer] })];
  pushImage(setup.source, "bad/image", "v1", bad);
  pushImage(setup.source, "good/image", "v1", good);
  const { blobs } = setup.source.state.repository("bad/image");
  blobs.set(layer.digest, bytesContent(new Uint8Array(1024), layer.digest));
  const report = await setup.run({
    [`${SOURCE}/bad/image:v1`]: `${DESTINATION}/to/image:bad`,
    [`${SOURCE}/good/image:v1`]: `${DESTINATION}/to/image:good`,
  }, {
    onEvent: (event) => {
      if (event.type === "blob-copied" && event.task.includes("good/")) isFollowing.resolve();
    },
  });
  assertEquals(report.totals, { copied: 1, unchanged: 0, skipped: 0, failed: 1, pending: 0, rulesFailed: 0 });
  assertHolds(setup.destination, "to/image", "good", good);
});
