/** Tests of how many requests the job "10×4" takes: exact numbers, so that one request more is noticed. */

import { assert, assertEquals } from "@std/assert";
import { challengeMemory } from "../src/mirror/store/challenge_memory.ts";
import type { Report } from "../src/mirror/report.ts";
import type { MirrorOptions } from "../src/mirror/run_context.ts";
import { DEFAULT_PLATFORM } from "./images/image.ts";
import { buildArtifact, buildImage, buildIndex, buildLayer, type Image, pushImage } from "./images.ts";
import {
  assertHolds,
  assertSentOnce,
  blobBytesFrom,
  blobBytesOf,
  DESTINATION,
  MirrorSetup,
  SOURCE,
} from "./mirror_setup.ts";
import type { AuthOptions, Quirks, TestRegistry } from "./registry.ts";

/** Requests of a run by side and kind. */
type Requests = Record<string, number>;

/**
 * Today's numbers. Whoever saves a request writes the new number here; whoever needs one more says why.
 *
 * The job: 10 tags, each an index of 4 platforms with a config and 3 layers each, two of which all tags share: 10 + 40
 * manifests, 88 blobs. Nothing belongs to any of it, which a source with the referrers API says of each of the 50 manifests when
 * they are copied, and of each of the 10 roots when they are unchanged.
 */
const EXPECTED = {
  /** Nothing is there; the destination takes small blobs with one request, as the specification allows. */
  cold: {
    "destination GET ping": 1,
    "destination GET tags": 1,
    "destination GET token": 1,
    "destination POST upload": 88,
    "destination PUT manifest": 50,
    "source GET blob": 88,
    "source GET manifest": 50,
    "source GET ping": 1,
    "source GET referrers": 50,
    "source GET tags": 1,
    "source GET token": 1,
    "source HEAD manifest": 10,
  },
  /** Nothing is there; the destination opens an upload for every blob, as distribution does. */
  coldSessions: {
    "destination GET ping": 1,
    "destination GET tags": 1,
    "destination GET token": 1,
    "destination POST upload": 88,
    "destination PUT manifest": 50,
    "destination PUT upload": 88,
    "source GET blob": 88,
    "source GET manifest": 50,
    "source GET ping": 1,
    "source GET referrers": 50,
    "source GET tags": 1,
    "source GET token": 1,
    "source HEAD manifest": 10,
  },
  /** Everything is there. */
  noOp: {
    "destination GET token": 1,
    "destination HEAD manifest": 10,
    "source GET referrers": 10,
    "source GET tags": 1,
    "source GET token": 1,
    "source HEAD manifest": 10,
  },
  /** Everything is there, and the records are believed. */
  noOpTrusted: {
    "source GET referrers": 10,
    "source GET tags": 1,
    "source GET token": 1,
    "source HEAD manifest": 10,
  },
  /** One tag is new, with one new layer and config a platform. */
  oneTag: {
    "destination GET token": 1,
    "destination HEAD blob": 16,
    "destination HEAD manifest": 16,
    "destination POST upload": 8,
    "destination PUT manifest": 5,
    "source GET blob": 8,
    "source GET manifest": 5,
    "source GET referrers": 15,
    "source GET tags": 1,
    "source GET token": 1,
    "source HEAD manifest": 11,
  },
  /** The tags are copied to another repository of the destination. */
  otherRepository: {
    "destination GET tags": 1,
    "destination GET token": 2,
    "destination POST upload": 88,
    "destination PUT manifest": 50,
    "source GET manifest": 50,
    "source GET referrers": 50,
    "source GET tags": 1,
    "source GET token": 1,
    "source HEAD manifest": 10,
  },
} satisfies Record<string, Requests>;

const TAGS = 10;
const ARCHITECTURES = ["amd64", "arm64", "ppc64le", "s390x"];
const RULE: Record<string, string> = { [`${SOURCE}/from/image`]: `${DESTINATION}/to/image` };
const AUTH: AuthOptions = { type: "bearer", users: { robot: { password: "secret" } } };

function buildTag(tag: number): Image {
  return buildIndex(ARCHITECTURES.map((architecture, place) =>
    buildImage({
      seed: 100 * tag + place,
      platform: { ...DEFAULT_PLATFORM, architecture },
      layers: [buildLayer(10_000 + place), buildLayer(20_000 + place), buildLayer(100 * tag + place)],
    })
  ));
}

function setUpRegistries(quirks: Quirks = {}, auth: AuthOptions = AUTH): MirrorSetup {
  return new MirrorSetup({
    source: { auth },
    destination: { auth, quirks },
    registries: { credentials: () => Promise.resolve({ username: "robot", password: "secret" }) },
  });
}

function setUpJob(quirks: Quirks = {}): MirrorSetup {
  const setup = setUpRegistries(quirks);
  for (let tag = 0; tag < TAGS; tag++) pushImage(setup.source, "from/image", `v${tag}`, buildTag(tag));
  return setup;
}

/** A run as the command line makes it, which remembers what registries ask for. */
async function run(setup: MirrorSetup, options: Partial<MirrorOptions> = {}, rule = RULE): Promise<Report> {
  const registries = setup.registries({ challenges: challengeMemory(setup.store) });
  return await setup.run(rule, { registries, ...options });
}

function forgetRequests({ source, destination }: MirrorSetup): void {
  source.resetLog();
  destination.resetLog();
}

function countRequests({ source, destination }: MirrorSetup): Requests {
  const sides: [string, TestRegistry][] = [["source", source], ["destination", destination]];
  const counts: Requests = {};
  for (const [side, { requests }] of sides) {
    for (const { method, kind } of requests) {
      const name = `${side} ${method} ${kind}`;
      counts[name] = (counts[name] ?? 0) + 1;
    }
  }
  return Object.fromEntries(Object.entries(counts).sort(([one], [other]) => one < other ? -1 : 1));
}

function totalOf(requests: Requests): number {
  return Object.values(requests).reduce((sum, count) => sum + count, 0);
}

/** Fails with both tables, and what became of the total, when a number differs. */
function assertRequests(setup: MirrorSetup, expected: Requests): void {
  const actual = countRequests(setup);
  assertEquals(actual, expected, `${totalOf(actual)} requests instead of ${totalOf(expected)}:`);
}

function assertCopied(setup: MirrorSetup, repository = "to/image"): void {
  for (let tag = 0; tag < TAGS; tag++) assertHolds(setup.destination, repository, `v${tag}`, buildTag(tag));
  assertSentOnce(setup.destination);
}

Deno.test("mirror() copies 10×4 with at most 430 requests", async () => {
  const setup = setUpJob();
  assertEquals((await run(setup)).totals.copied, TAGS);
  assertCopied(setup);
  assertRequests(setup, EXPECTED.cold);
  assert(totalOf(EXPECTED.cold) <= 380 + 50);
  const images = Array.from({ length: TAGS }, (_, tag) => buildTag(tag));
  assertEquals(blobBytesFrom(setup.source), blobBytesOf(...images));
});

Deno.test("mirror() copies 10×4 with at most 430 requests where every blob needs an upload", async () => {
  const setup = setUpJob({ noSinglePost: true });
  assertEquals((await run(setup)).totals.copied, TAGS);
  assertCopied(setup);
  assertRequests(setup, EXPECTED.coldSessions);
  assert(totalOf(EXPECTED.coldSessions) <= 380 + 50);
});

Deno.test("mirror() finds 10×4 unchanged with at most 33 requests, none for a manifest's bytes", async () => {
  const setup = setUpJob();
  await run(setup);
  forgetRequests(setup);
  assertEquals((await run(setup)).totals.unchanged, TAGS);
  assertRequests(setup, EXPECTED.noOp);
  assert(totalOf(EXPECTED.noOp) <= 23 + 10, `${totalOf(EXPECTED.noOp)} requests`);
  assertEquals(Object.keys(EXPECTED.noOp).filter((name) => name.includes("GET manifest")), []);
});

Deno.test("mirror() finds 10×4 unchanged with at most 22 requests where the records are believed", async () => {
  const setup = setUpJob();
  await run(setup);
  forgetRequests(setup);
  assertEquals((await run(setup, { trustRecords: true })).totals.unchanged, TAGS);
  assertRequests(setup, EXPECTED.noOpTrusted);
  assert(totalOf(EXPECTED.noOpTrusted) <= 12 + 10);
});

/** What stands beside a table when the source has no referrers API: the probe, which is remembered. */
function withoutApi(requests: Requests, probes: number): Requests {
  const { "source GET referrers": _, ...rest } = requests;
  return probes === 0 ? rest : { ...rest, "source GET referrers": probes };
}

Deno.test("mirror() asks a source without the referrers API once in all, and nothing more of 10×4", async () => {
  const setup = setUpJob();
  setup.source.quirks.noReferrers = true;
  assertEquals((await run(setup)).totals.copied, TAGS);
  assertRequests(setup, withoutApi(EXPECTED.cold, 1));
  for (
    const [options, expected] of [[{}, EXPECTED.noOp], [
      { trustRecords: true },
      EXPECTED.noOpTrusted,
    ]] as const
  ) {
    forgetRequests(setup);
    assertEquals((await run(setup, options)).totals.unchanged, TAGS);
    assertRequests(setup, withoutApi(expected, 0));
  }
});

Deno.test("mirror() finds 10×4 with two referrers an image unchanged with at most 33 requests", async () => {
  for (const noReferrers of [false, true]) {
    const setup = setUpJob({ noReferrers });
    for (let tag = 0; tag < TAGS; tag++) {
      for (const seed of [1, 2]) {
        const subject = buildTag(tag);
        const artifactType = "application/vnd.test.signature";
        pushImage(
          setup.source,
          "from/image",
          undefined,
          buildArtifact({ seed: 10 * tag + seed, artifactType, subject }),
        );
      }
    }
    await run(setup);
    // A destination without the API has lists that others write as well: they are looked at once more.
    if (noReferrers) await run(setup);
    forgetRequests(setup);
    assertEquals((await run(setup)).totals.unchanged, TAGS);
    assertRequests(setup, EXPECTED.noOp);
  }
});

Deno.test("mirror() asks for nothing that belongs to images where nothing is to come along", async () => {
  const setup = setUpJob();
  await run(setup, { referrers: false });
  assertRequests(setup, withoutApi(EXPECTED.cold, 0));
});

Deno.test("mirror() copies one new tag without asking about what the others have", async () => {
  const setup = setUpJob();
  await run(setup);
  pushImage(setup.source, "from/image", "v10", buildTag(10));
  forgetRequests(setup);
  assertEquals((await run(setup)).totals.copied, 1);
  assertHolds(setup.destination, "to/image", "v10", buildTag(10));
  assertRequests(setup, EXPECTED.oneTag);
});

Deno.test("mirror() reads nothing of 10×4 again for another repository of the destination", async () => {
  const setup = setUpJob();
  await run(setup);
  forgetRequests(setup);
  await run(setup, {}, { [`${SOURCE}/from/image`]: `${DESTINATION}/to/other` });
  assertCopied(setup, "to/other");
  assertRequests(setup, EXPECTED.otherRepository);
  assertEquals(blobBytesFrom(setup.source), 0);
});

/** Ten repositories that share nothing, with one tag each. */
async function copyRepositories(auth: AuthOptions): Promise<MirrorSetup> {
  const setup = setUpRegistries({}, auth);
  const names = Array.from({ length: 10 }, (_, index) => `team/app${index}`);
  for (const [index, name] of names.entries()) {
    pushImage(setup.source, name, "v1", buildImage({ seed: index }));
  }
  const rules = Object.fromEntries(names.map((name) => [`${SOURCE}/${name}`, `${DESTINATION}/${name}`]));
  assertEquals((await run(setup, {}, rules)).totals.copied, names.length);
  for (const [index, name] of names.entries()) {
    assertHolds(setup.destination, name, "v1", buildImage({ seed: index }));
  }
  return setup;
}

function tokensOf(setup: MirrorSetup): number[] {
  return [setup.source, setup.destination].map((registry) => registry.count({ kind: "token" }));
}

Deno.test("mirror() asks each side for one token for ten repositories, and the destination for one ahead", async () => {
  assertEquals(tokensOf(await copyRepositories(AUTH)), [1, 2]);
});

Deno.test("mirror() asks for a token each where none is given for many repositories, after one try", async () => {
  assertEquals(tokensOf(await copyRepositories({ ...AUTH, manyScopes: "refused" })), [11, 11]);
});

Deno.test("mirror() asks for a token each where one is good for less than it was asked for", async () => {
  assertEquals(tokensOf(await copyRepositories({ ...AUTH, manyScopes: "first" })), [11, 11]);
});
