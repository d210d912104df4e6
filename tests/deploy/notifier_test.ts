/** Notices: told once for a state, signed, in the target's own shape, and never in the way of a mirror. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { createHmac } from "node:crypto";
import { fillTemplate } from "../../src/machine/service/notifier.ts";
import type { MirrorServiceOptions } from "../../src/machine/service/service.ts";
import { ConfigError } from "../../src/mirror/config/config.ts";
import { parseConfig } from "../../src/mirror/config/config_text.ts";
import type { NoticeTarget } from "../../src/mirror/config/notice_target.ts";
import { FakeClock } from "../fake_clock.ts";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry } from "../registry.ts";
import { configOf, serviceOf } from "./site.ts";

const URL_OF_HOOK = "https://hooks.test/T0/secret-part";

/** A mirror of two rules that can be broken, its hooks, and what they were told. */
function sceneOf(target: Partial<NoticeTarget> = {}, more: Partial<MirrorServiceOptions> = {}) {
  const broken = new Set<string>();
  const registry = createRegistry({
    intercept: (request, { kind }) =>
      kind === "manifest" && request.method === "PUT" &&
        [...broken].some((name) => request.url.includes(`/${name}/`))
        ? new Response('{"errors":[{"code":"DENIED","message":"a \\"quota\\""}]}', { status: 403 })
        : undefined,
  });
  for (const name of ["a", "b"]) {
    pushImage(registry, `team/${name}`, "v1", buildImage({ seed: name.charCodeAt(0) }));
  }
  const posted: { url: string; body: string; headers: Headers; redirect: string | undefined }[] = [];
  const log: string[] = [];
  let answer: () => Promise<Response> = () => Promise.resolve(new Response(""));
  const config = {
    ...configOf({ "one.test/team/a": "two.test/a/x", "one.test/team/b": "two.test/b/x" }),
    notify: [
      { name: "ops", url: URL_OF_HOOK, on: ["failure", "recovery"], ...target } satisfies NoticeTarget,
    ],
  };
  const service = serviceOf(registry, config, {
    clock: new FakeClock(),
    mirrorOptions: { retries: 0 },
    log: { write: (_level, message) => void log.push(message), close: () => {} },
    fetch: (url, init) => {
      const { body, headers, redirect } = init ?? {};
      posted.push({ url: String(url), body: String(body), headers: new Headers(headers), redirect });
      return answer();
    },
    ...more,
  });
  const answerWith = (make: () => Promise<Response>) => answer = make;
  const run = async (...names: string[]) => {
    broken.clear();
    names.forEach((name) => broken.add(name));
    // What was copied is to be copied again, so that what is broken is found.
    registry.repositories.delete("a/x");
    registry.repositories.delete("b/x");
    posted.length = 0;
    await service.run("schedule");
    return posted.map(({ body }) => JSON.parse(body));
  };
  return { run, posted, log, answerWith };
}

Deno.test("a notice is sent when a rule begins to fail and when it is well again, not with each run", async () => {
  const { run } = sceneOf();
  assertEquals(await run(), []);
  const [failure, ...others] = await run("a");
  assertEquals([failure.event, failure.rules, failure.count, others], ["failure", "one.test/team/a", 1, []]);
  assertStringIncludes(failure.text, "Failing: one.test/team/a (Cannot push manifest");
  assertEquals(await run("a"), []);
  const both = await run("b");
  assertEquals(both.map(({ event, rules }) => [event, rules]), [
    ["failure", "one.test/team/b"],
    ["recovery", "one.test/team/a"],
  ]);
  assertEquals((await run()).map(({ text }) => text), ["Well again: one.test/team/b"]);
  assertEquals(await run(), []);
});

Deno.test("a notice that a target does not take is sent by the next run, and its URL is in no log", async () => {
  const { run, log, answerWith } = sceneOf();
  const answers: [() => Promise<Response>, string][] = [
    [() => Promise.resolve(new Response("", { status: 500 })), 'Cannot notify "ops": it answers 500'],
    [() => Promise.resolve(new Response("", { status: 302 })), 'Cannot notify "ops": it answers 302'],
    [
      () => Promise.reject(new TypeError(`error for ${URL_OF_HOOK}`)),
      'Cannot notify "ops": it cannot be reached',
    ],
  ];
  for (const [answer, said] of answers) {
    answerWith(answer);
    assertEquals((await run("a")).map(({ event }) => event), ["failure"]);
    assertStringIncludes(log.join("\n"), said);
  }
  answerWith(() => Promise.resolve(new Response("")));
  assertEquals((await run("a")).length, 1);
  assertEquals(await run("a"), []);
  assert(!log.join("\n").includes("secret-part"), log.join("\n"));
});

Deno.test("a notice follows no redirect, and is signed over its time and its body", async () => {
  const { run, posted } = sceneOf({ secret: "s3cret" });
  await run("a");
  const [{ body = "", headers = new Headers(), redirect = "", url = "" } = {}] = posted;
  assertEquals([url, redirect, headers.get("content-type")], [URL_OF_HOOK, "manual", "application/json"]);
  const [, time = "", signature = ""] =
    /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers.get("x-image-syncer-signature") ?? "") ??
      [];
  assertEquals(signature, createHmac("sha256", "s3cret").update(`${time}.${body}`).digest("hex"));
});

Deno.test("a notice has the shape of its template, whatever the registry has said", async () => {
  const { run } = sceneOf({
    template: { text: "{{text}}!", blocks: [{ n: "{{count}}", x: "{{none}}", y: 3 }] },
  });
  const [notice] = await run("a");
  assertEquals(notice.blocks, [{ n: "1", x: "{{none}}", y: 3 }]);
  assertStringIncludes(notice.text, 'a "quota"');
  const fields = {
    event: "failure",
    rules: "{{error}}",
    count: 1,
    error: '"}\n',
    run: "",
    text: "",
  } as const;
  assertEquals(fillTemplate(["{{rules}}", "{{error}}", "{{toString}}", null], fields), [
    "{{error}}",
    '"}\n',
    "{{toString}}",
    null,
  ]);
});

Deno.test("a target is told only what it wants to be told", async () => {
  const { run } = sceneOf({ on: ["recovery"] });
  assertEquals(await run("a"), []);
  assertEquals((await run()).map(({ event }) => event), ["recovery"]);
});

Deno.test("a config that cannot be read any more is a failure of the whole run, told to whom it named last", async () => {
  let isBroken = false;
  const config = {
    ...configOf({ "one.test/team/a": "two.test/a/x" }),
    notify: [{ name: "ops", url: URL_OF_HOOK, on: ["failure", "recovery"] } satisfies NoticeTarget],
  };
  const { run } = sceneOf({}, {
    readConfig: () =>
      isBroken ? Promise.reject(new ConfigError({ line: 3 }, "expected an object")) : Promise.resolve(config),
  });
  await run();
  isBroken = true;
  assertEquals((await run()).map(({ text }) => text), [
    "Failing: the mirror (Cannot read config (line 3): expected an object)",
  ]);
  assertEquals(await run(), []);
  isBroken = false;
  assertEquals((await run()).map(({ text }) => text), ["Well again: the mirror"]);
});

Deno.test("parseConfig() reads whom to notify, with secrets from the environment, and names what is wrong", () => {
  const parse = (notify: unknown) =>
    parseConfig(JSON.stringify({ images: {}, notify }), {
      environment: (name) => name === "HOOK" ? "https://h.test/x" : undefined,
    });
  assertEquals(parse({ ops: { url: "${HOOK}", on: "failure", template: { text: "{{text}}" } } }).notify, [
    { name: "ops", url: "https://h.test/x", on: ["failure"], template: { text: "{{text}}" } },
  ]);
  assertEquals(parse({ ops: { url: "http://h.test", urll: 1 } }).warnings.length, 1);
  const wrong: [unknown, string][] = [
    [[], 'at "notify"'],
    [{ ops: {} }, 'at "notify.ops" (line 1): there is no "url"'],
    [{ ops: { url: "h.test/secret" } }, 'at "notify.ops.url" (line 1): expected an address that begins'],
    [{ ops: { url: "${NONE}" } }, 'the environment variable "NONE" is not set'],
    [
      { ops: { url: "http://h.test", on: "drift" } },
      'at "notify.ops.on" (line 1): expected "failure" or "recovery"',
    ],
  ];
  for (const [notify, message] of wrong) {
    const error = assertThrows(() => parse(notify), ConfigError, message);
    assert(!(error as Error).message.includes("h.test/secret"));
  }
});
