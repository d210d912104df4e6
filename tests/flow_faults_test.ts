/** Tests of the run that flows: who is slow, dead or endless holds up nobody but itself, and every run gets somewhere. */

import { assert, assertEquals } from "@std/assert";
import type { Rule } from "../src/mirror/config/config.ts";
import { isPermanent } from "../src/mirror/plan/failure.ts";
import { planOnly } from "../src/mirror/run.ts";
import { cursorKey } from "../src/mirror/store/store.ts";
import { TimeLimitError } from "../src/registry/fetch.ts";
import { RegistryError } from "../src/registry/registry_error.ts";
import { settle } from "./fake_clock.ts";
import { buildImage, buildMultiPlatform, pushImage } from "./images.ts";
import { DESTINATION, type MirrorSetup, rulesOf, setUpMirror, SOURCE } from "./mirror_setup.ts";
import { createRegistry } from "./registry.ts";

const FROM = `${SOURCE}/from/image`;
const TO = `${DESTINATION}/to/image`;

function withRepositories(
  count: number,
  tags = 1,
  options: Parameters<typeof setUpMirror>[0] = {},
): MirrorSetup {
  const setup = setUpMirror(options);
  for (let number = 0; number < count; number++) {
    for (let tag = 0; tag < tags; tag++) {
      pushImage(
        setup.source,
        `from/r${number}`,
        `t${tag}`,
        buildImage({ seed: number * 100 + tag, layers: 1 }),
      );
    }
  }
  return setup;
}

function allTags(count: number): Record<string, string> {
  const rules: [string, string][] = Array.from({ length: count }, (_, number) => [
    `${SOURCE}/from/r${number}`,
    `${DESTINATION}/to/r${number}`,
  ]);
  return Object.fromEntries(rules);
}

Deno.test("fault 18: mirror() copies an image while the tags of another repository are still listed", async () => {
  const copied = Promise.withResolvers<void>();
  const setup = withRepositories(2, 1, {
    source: {
      // The list of the second repository comes when the first one has been copied.
      intercept: async (_, { kind, repository }) => {
        if (kind === "tags" && repository === "from/r1") await copied.promise;
        return undefined;
      },
    },
  });
  const report = await setup.run(allTags(2), {
    onEvent: (event) => {
      setup.events.push(event);
      if (event.type === "destination-copied") copied.resolve();
    },
  });
  assertEquals(report.totals.copied, 2);
  const [first] = setup.eventsOf("destination-copied");
  assertEquals(first?.destination, `${DESTINATION}/to/r0:t0`);
});

for (const dead of ["source", "destination"] as const) {
  Deno.test(`fault 18: mirror() copies what it can while a ${dead} does not answer`, async () => {
    const done = Promise.withResolvers<void>();
    const setup: MirrorSetup = withRepositories(3, 1, {
      others: { "dead.test": createRegistry() },
      wrap: {
        "dead.test": () => async () => {
          await done.promise;
          return new Response(null, { status: 404 });
        },
      },
    });
    const stuck: Rule = dead === "source"
      ? { source: "dead.test/from/image", destinations: [TO] }
      : { source: `${SOURCE}/from/r0`, destinations: ["dead.test/to/image"] };
    let copied = 0;
    const report = await setup.run([stuck, ...rulesOf(allTags(3))], {
      patience: 1000,
      onEvent: (event) => {
        if (event.type === "destination-copied" && ++copied === 3) done.resolve();
      },
    });
    assertEquals([copied, report.totals.copied], [3, 3]);
    assertEquals(report.totals.failed + report.totals.rulesFailed, 1);
  });
}

Deno.test("fault 18: mirror() leaves a destination behind that does not answer, and copies the image to the others", async () => {
  const done = Promise.withResolvers<void>();
  const setup: MirrorSetup = setUpMirror({
    others: { "dead.test": createRegistry() },
    wrap: {
      "dead.test": () => async () => {
        await done.promise;
        return new Response(null, { status: 500 });
      },
    },
    registries: { limits: { attempts: 1 } },
  });
  pushImage(setup.source, "from/image", "v1", buildImage());
  const report = await setup.run({ [`${FROM}:v1`]: ["dead.test/to/image", TO] }, {
    patience: 1000,
    retries: 0,
    onEvent: (event) => event.type === "destination-copied" && done.resolve(),
  });
  assertEquals([report.totals.copied, report.totals.failed], [1, 1]);
  const [task] = report.tasks;
  assertEquals(task?.destinations.map(({ reference }) => reference), ["dead.test/to/image:v1", `${TO}:v1`]);
});

Deno.test("planOnly() names an image once, though one of its destinations answers long after the others", async () => {
  const [atDestination, atSource] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const setup: MirrorSetup = setUpMirror({
    source: {
      intercept: async (_, { kind }) => {
        if (kind !== "manifest") return undefined;
        await atDestination.promise;
        await settle();
        atSource.resolve();
        return undefined;
      },
    },
    destination: { intercept: (_, { kind }) => (kind === "manifest" && atDestination.resolve(), undefined) },
    others: { "late.test": createRegistry() },
    wrap: {
      "late.test": (handler) => async (request) => {
        if (request.method === "HEAD") await atSource.promise.then(settle);
        return await handler(request);
      },
    },
  });
  pushImage(setup.source, "from/image", "v1", buildImage());
  const rules = rulesOf({ [`${FROM}:v1`]: ["late.test/to/image", TO] });
  const { tasks } = await planOnly(rules, { registries: setup.registries(), patience: 1 });
  assertEquals(
    tasks.map(({ destinations }) => destinations.map(({ reference }) => reference.registry)),
    [["late.test", DESTINATION]],
  );
});

Deno.test("fault 16: isPermanent() gives no further pass to a request that was never answered, and one to any other", () => {
  const asked = {
    action: "Cannot push",
    method: "PUT",
    url: "https://dead.test/",
    status: 0,
    why: "silence",
  };
  const silent = new RegistryError({ ...asked, cause: new TimeLimitError(1000) });
  assertEquals(isPermanent(silent), false);
  assertEquals(isPermanent(silent.exhaust()), true);
  assertEquals(isPermanent(new RegistryError({ ...asked, cause: new Error("reset") }).exhaust()), false);
});

Deno.test("fault 17: mirror() looks again at all rules of one registry side by side", async () => {
  let failures = 20;
  let together = 0;
  let most = 0;
  const setup = withRepositories(20, 1, {
    source: {
      intercept: async (_, { kind }) => {
        if (kind !== "tags") return undefined;
        most = Math.max(most, ++together);
        await settle();
        together--;
        return failures-- > 0 ? new Response(null, { status: 404 }) : undefined;
      },
    },
  });
  const report = await setup.run(allTags(20));
  assertEquals([report.totals.copied, report.totals.rulesFailed], [20, 0]);
  assert(most > 10, `${most} at once`);
  // One pause for all of them.
  assertEquals(setup.clock.waits.filter((wait) => wait === 1000).length, 1);
});

/** A mirror whose tag lists take a second each, and whose runs are given one. */
function slowLists(count: number): MirrorSetup {
  const setup: MirrorSetup = withRepositories(count, 1, {
    source: { intercept: (_, { kind }) => (kind === "tags" && (setup.clock.time += 1000), undefined) },
  });
  return setup;
}

Deno.test("fault 19: runs whose time is shorter than their planning are through after some runs, and each copies something", async () => {
  const setup = slowLists(5);
  const copied: number[] = [];
  for (let run = 0; run < 20; run++) {
    const report = await setup.run(allTags(5), { stopAt: setup.clock.now() + 1000 });
    copied.push(report.totals.copied);
    if (report.isInterrupted !== true) break;
  }
  assertEquals(copied.reduce((sum, one) => sum + one, 0), 5);
  assert(copied.length < 20 && copied.slice(0, -1).every((one) => one > 0), `${copied}`);
});

Deno.test("fault 19: mirror() begins with the repository that has waited longest", async () => {
  const setup = slowLists(40);
  const rules = allTags(40);
  const first = await setup.run(rules, { stopAt: setup.clock.now() + 1000, concurrency: 1 });
  assert(first.next !== undefined);
  assertEquals(await setup.store.get(cursorKey()), first.next);
  setup.source.requests.length = 0;
  const report = await setup.run(rules);
  const [list] = setup.source.requests.filter(({ kind }) => kind === "tags");
  assertEquals(`${SOURCE}/${list?.repository}`, first.next);
  assertEquals([report.isInterrupted, report.next], [undefined, undefined]);
  assertEquals(await setup.store.get(cursorKey()), undefined);
});

Deno.test("fault 19: mirror() that is aborted while it plans says where the next run begins", async () => {
  const controller = new AbortController();
  const setup = withRepositories(3, 1, {
    source: {
      intercept: (_, { kind, repository }) => {
        if (kind === "tags" && repository === "from/r1") controller.abort(new Error("SIGINT"));
        return undefined;
      },
    },
  });
  const report = await setup.run(allTags(3), { signal: controller.signal });
  assertEquals(report.isInterrupted, true);
  assertEquals(report.next, `${SOURCE}/from/r0`);
  assertEquals((await setup.run(allTags(3))).totals.pending, 0);
});

Deno.test("fault 19: a run that finds nothing to copy ends, whatever its time", async () => {
  const setup = slowLists(5);
  await setup.run(allTags(5));
  const report = await setup.run(allTags(5), { stopAt: setup.clock.now() + 1000 });
  assertEquals([report.totals.failed, report.totals.copied, report.totals.unchanged], [0, 0, 5]);
});

for (const [shape, pages] of [["one page", 1], ["many pages", 130]] as const) {
  Deno.test(`fault 30: mirror() takes 130,000 tags in ${shape}`, async () => {
    const setup = setUpMirror();
    const digest = pushImage(setup.source, "from/image", "v1", buildImage());
    assert(digest !== null);
    const count = 130_000 / pages;
    const served = new Set<string>();
    const fake = (number: number) =>
      Array.from({ length: count }, (_, index) => `x${String(number * count + index).padStart(6, "0")}`);
    const many = createRegistry({
      intercept: (request, { kind }) => {
        if (kind !== "tags") return undefined;
        const page = Number(new URL(request.url).searchParams.get("page") ?? 0);
        served.add(`${page}`);
        const next = page + 1 < pages
          ? { link: `</v2/from/image/tags/list?page=${page + 1}>; rel="next"` }
          : {};
        return Response.json({ name: "from/image", tags: page === 0 ? ["v1", ...fake(0)] : fake(page) }, {
          headers: next,
        });
      },
    });
    pushImage(many, "from/image", "v1", buildImage());
    const others = setUpMirror({ others: { "many.test": many } });
    const report = await others.run({ "many.test/from/image:/^v/": TO });
    assertEquals([report.totals.copied, report.totals.rulesFailed], [1, 0]);
    assertEquals(served.size, pages);
  });
}

Deno.test("fault 30: a rule whose destinations name tags of their own sees all names of all pages", async () => {
  const setup = setUpMirror({ source: { tagPageSize: 2 } as never });
  for (const tag of ["a1", "b1", "c1"]) pushImage(setup.source, "from/image", tag, buildImage());
  const report = await setup.run({
    [`${FROM}:/1/`]: `${TO}:x,y,z`,
    [`${FROM}:/^[ab]/`]: `${DESTINATION}/to/other:x`,
  });
  assertEquals([report.totals.copied, report.totals.rulesFailed], [3, 1]);
});

Deno.test("fault 70: mirror() copies a tag that has moved since it was looked at, though its old manifest is gone", async () => {
  const [before, after] = [buildImage({ seed: 1 }), buildImage({ seed: 2 })];
  for (const platforms of [undefined, ["linux/amd64"]]) {
    let hasMoved = false;
    const setup: MirrorSetup = setUpMirror({
      source: {
        intercept: (request, { kind, reference }) => {
          if (kind !== "manifest" || request.method !== "GET" || reference !== before.digest) {
            return undefined;
          }
          if (!hasMoved) pushImage(setup.source, "from/image", "v1", after);
          hasMoved = true;
          return Response.json({ errors: [{ code: "MANIFEST_UNKNOWN" }] }, { status: 404 });
        },
      },
    });
    pushImage(setup.source, "from/image", "v1", before);
    const report = await setup.run([{
      source: `${FROM}:v1`,
      destinations: [TO],
      ...(platforms && { platforms }),
    }], {
      retries: 0,
    });
    assertEquals(report.totals.copied, 1, report.tasks[0]?.error);
    assertEquals(setup.destination.state.repository("to/image").tags.get("v1"), after.digest);
  }
});

Deno.test("fault 70: mirror() fails a tag whose manifest is gone and that has not moved", async () => {
  const image = buildImage();
  const setup = setUpMirror({
    source: {
      intercept: (request, { kind }) =>
        kind === "manifest" && request.method === "GET"
          ? Response.json({ errors: [{ code: "MANIFEST_UNKNOWN" }] }, { status: 404 })
          : undefined,
    },
  });
  pushImage(setup.source, "from/image", "v1", image);
  const report = await setup.run({ [`${FROM}:v1`]: TO }, { retries: 0 });
  assertEquals(report.totals.failed, 1);
});

Deno.test("fault 8: mirror() names at the destination what is pinned by tag and digest", async () => {
  const image = buildImage();
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", image);
  assertEquals((await setup.run({ [`${FROM}:v1@${image.digest}`]: TO })).totals.copied, 1);
  assertEquals(setup.destination.state.repository("to/image").tags.get("v1"), image.digest);
  assertEquals(setup.eventsOf("warning"), []);
});

Deno.test("fault 8: mirror() says once that what is named by digest alone arrives without a tag", async () => {
  const image = buildImage();
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", image);
  assertEquals((await setup.run({ [`${FROM}@${image.digest}`]: TO })).totals.copied, 1);
  const [{ message } = { message: "" }, ...more] = setup.eventsOf("warning");
  assert(message.includes(`arrives at "${TO}" without a tag`), message);
  assertEquals(more, []);
});

Deno.test("fault 10: a platform that nothing has is said, with what was meant", async () => {
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", buildMultiPlatform(["amd64", "arm64"]));
  const platforms = ["linus/amd64", "linux/x86_64", "linux/arm64"];
  await setup.run({ [`${FROM}:v1`]: TO }, { platforms });
  assertEquals(setup.eventsOf("warning").map(({ message }) => message), [
    'Platform "linus/amd64" is wanted, but nothing is called "linus"; did you mean "linux"?',
    'Platform "linux/x86_64" is wanted, but nothing is called "x86_64"; did you mean "amd64"?',
  ]);
});

Deno.test("fault 10: an image that has none of the platforms wanted is skipped with those that it has", async () => {
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", buildMultiPlatform(["amd64", "arm64"]));
  for (let run = 0; run < 2; run++) {
    const report = await setup.run({ [`${FROM}:v1`]: TO }, { platforms: ["linux/s390x"] });
    assertEquals(report.totals.skipped, 1);
    assert(report.tasks[0]?.reason?.endsWith("(it has linux/amd64, linux/arm64)"), report.tasks[0]?.reason);
  }
});

Deno.test("fault 85: a rule that would rewrite its own source is refused, and nothing is asked of it", async () => {
  const index = buildMultiPlatform(["amd64", "arm64"]);
  const setup = setUpMirror();
  pushImage(setup.source, "from/image", "v1", index);
  const report = await setup.run([{
    source: `${FROM}:v1`,
    destinations: [FROM],
    platforms: ["linux/amd64"],
  }]);
  assertEquals([report.totals.rulesFailed, report.totals.copied], [1, 0]);
  assert(
    report.rules[0]?.error.includes("all that is left of the image at its own source"),
    report.rules[0]?.error,
  );
  assertEquals(setup.source.state.repository("from/image").tags.get("v1"), index.digest);
  const other = await setup.run([{
    source: `${FROM}:v1`,
    destinations: [`${FROM}:amd64`],
    platforms: ["linux/amd64"],
  }]);
  assertEquals(other.totals.copied, 1);
});

/** A destination that takes nothing but runnable images, as SWR of Huawei Cloud. */
function refusingAttestations(): MirrorSetup {
  return setUpMirror({
    destination: {
      intercept: async (request, { kind, next }) => {
        if (request.method !== "PUT" || kind !== "manifest") return undefined;
        const text = await request.clone().text();
        const isAttestation = text.includes("in-toto") || text.includes('"os":"unknown"');
        if (!isAttestation) return await next();
        return Response.json({ errors: [{ code: "MANIFEST_INVALID", message: "not an image" }] }, {
          status: 400,
        });
      },
    },
  });
}

for (const platforms of [undefined, ["linux/amd64"]]) {
  Deno.test(`fault 55: mirror() leaves attestations out where a rule says so (platforms ${platforms ?? "all"})`, async () => {
    const setup = refusingAttestations();
    pushImage(
      setup.source,
      "from/image",
      "v1",
      buildMultiPlatform(["amd64", "arm64"], { attestations: true }),
    );
    const rule: Rule = { source: `${FROM}:v1`, destinations: [TO], ...(platforms && { platforms }) };
    assertEquals((await setup.run([rule], { retries: 0 })).totals.failed, 1);
    const report = await setup.run([{ ...rule, attestations: false }]);
    assertEquals(report.totals.copied, 1, report.tasks[0]?.error);
    const again = await setup.run([{ ...rule, attestations: false }]);
    assertEquals(again.totals.unchanged, 1);
  });
}
