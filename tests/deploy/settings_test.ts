/** What the environment of Deno Deploy says, and what is said of values that cannot be used. */

import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { ConfigError } from "../../src/mirror/config/config.ts";
import { readDeployConfig, readSettings, SettingsError } from "../../src/deno/deploy_settings.ts";
import { ScheduleError } from "../../src/machine/service/schedule.ts";
import { openKvLocation } from "../../src/deno/kv_location.ts";
import { openStore, parseLocation, StoreLocationError } from "../../src/machine/store/store_location.ts";
import { KvStoreError } from "../../src/deno/kv_store.ts";

const environmentOf = (values: Record<string, string>) => (name: string): string | undefined => values[name];

Deno.test("readSettings() has an answer for everything", () => {
  const { schedule, ...settings } = readSettings(environmentOf({}));
  assertEquals(schedule.expression, "0 * * * *");
  assertEquals(settings, {
    budget: 480_000,
    isStrict: false,
    store: "kv",
    token: undefined,
    refusal: undefined,
  });
});

Deno.test("readSettings() names the value that cannot be used", () => {
  const cases: [Record<string, string>, new (...args: never[]) => Error, string][] = [
    [{ IMAGE_SYNCER_SCHEDULE: "often" }, ScheduleError, 'Cannot use schedule "often": expected five fields'],
    [{ IMAGE_SYNCER_BUDGET: "0" }, SettingsError, "Cannot use IMAGE_SYNCER_BUDGET: expected a number"],
    [{ IMAGE_SYNCER_BUDGET: "8m" }, SettingsError, 'above 0, got "8m"'],
  ];
  for (const [values, type, message] of cases) {
    assertThrows(() => readSettings(environmentOf(values)), type, message);
  }
  assertEquals(readSettings(environmentOf({ IMAGE_SYNCER_BUDGET: "0.5" })).budget, 500);
});

Deno.test("readSettings() lets only the production timeline run unless told otherwise", () => {
  const refusal = (values: Record<string, string>) => readSettings(environmentOf(values)).refusal;
  assertEquals(refusal({ DENO_TIMELINE: "production" }), undefined);
  assertEquals(
    refusal({ DENO_TIMELINE: "git-branch/x" }),
    'this is the timeline "git-branch/x", and only production may run (IMAGE_SYNCER_TIMELINES)',
  );
  const both = "production, git-branch/x";
  assertEquals(refusal({ DENO_TIMELINE: "git-branch/x", IMAGE_SYNCER_TIMELINES: both }), undefined);
  assertEquals(refusal({ DENO_TIMELINE: "preview/1", IMAGE_SYNCER_TIMELINES: "*" }), undefined);
});

Deno.test("readDeployConfig() reads the environment first, then the file", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/cfg.json`;
    await Deno.writeTextFile(path, '{"images": {"alpine": "r.io/a"}}');
    const IMAGE_SYNCER_CONFIG = '{"images": {"busybox": "r.io/b"}}';
    const values = { IMAGE_SYNCER_CONFIG, IMAGE_SYNCER_CONFIG_FILE: path };
    const sourceOf = async (environment: Record<string, string>) =>
      (await readDeployConfig(environmentOf(environment))).rules[0]?.source;
    assertEquals(await sourceOf(values), "busybox");
    assertEquals(await sourceOf({ IMAGE_SYNCER_CONFIG_FILE: path }), "alpine");
    const secret = '{"auth": {"r.io": {"username": "u", "password": "${SECRET}"}}, "images": {}}';
    const config = await readDeployConfig(environmentOf({ IMAGE_SYNCER_CONFIG: secret, SECRET: "x" }));
    assertEquals(config.auth["r.io"]?.password, "x");
    const missing = environmentOf({ IMAGE_SYNCER_CONFIG_FILE: `${directory}/none.json` });
    const why =
      `Cannot use IMAGE_SYNCER_CONFIG: it is not set, and there is no file "${directory}/none.json"`;
    await assertRejects(() => readDeployConfig(missing), SettingsError, why);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("readDeployConfig() says that a config may have been cut off by the limit of Deno Deploy", async () => {
  const long = JSON.stringify({ images: { alpine: `r.io/${"a".repeat(20_000)}` } });
  const cut = environmentOf({ IMAGE_SYNCER_CONFIG: long.slice(0, 16 * 1024) });
  const error = await assertRejects(() => readDeployConfig(cut), SettingsError);
  assertStringIncludes(error.message, "With 16384 bytes it may have been cut off");
  assertStringIncludes(error.message, 'put the config into a file "image-syncer.json"');
  const short = environmentOf({ IMAGE_SYNCER_CONFIG: "{" });
  await assertRejects(() => readDeployConfig(short), ConfigError, "Cannot read config");
});

Deno.test("parseLocation() knows files and databases", () => {
  assertEquals(parseLocation("file:./records"), { kind: "file", rest: "./records" });
  assertEquals(parseLocation("kv"), { kind: "kv", rest: "" });
  assertEquals(parseLocation("kv:./kv.db"), { kind: "kv", rest: "./kv.db" });
  assertEquals(parseLocation("kv:https://kv.example.com/x"), {
    kind: "kv",
    rest: "https://kv.example.com/x",
  });
  for (const text of ["", "file", "file:", "redis:x", "./records", "kvx"]) {
    assertThrows(
      () => parseLocation(text),
      StoreLocationError,
      `Cannot open store "${text}": expected file:PATH`,
    );
  }
});

Deno.test("openStore() opens what is named, and keeps it", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const places = ["file:records", "sqlite:records.db", "kv:kv.db"];
    for (const location of places.map((place) => place.replace(":", `:${directory}/`))) {
      const first = await openStore(location, { openKv: openKvLocation });
      await first.store.set(["a"], 1);
      await first.close();
      const second = await openStore(location, { openKv: openKvLocation });
      assertEquals(await second.store.get(["a"]), 1);
      assertEquals(second.leases !== undefined, location.startsWith("kv"));
      await second.close();
    }
    await assertRejects(
      () => openStore(`kv:${directory}/none/kv.db`, { openKv: openKvLocation }),
      KvStoreError,
      "Cannot open Deno KV store",
    );
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
