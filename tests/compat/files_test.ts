/** Compatibility, items 1 to 12: the command line and its files. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { compat } from "./item.ts";
import { assertExit, type Scene, withScene } from "./scene.ts";

/** The content of a file of `auth` or `images` in YAML; the keys of both are texts without quotes. */
function yamlOf(entries: Readonly<Record<string, unknown>>): string {
  return Object.entries(entries).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`).join("");
}

function rule({ S, D }: Scene): Record<string, string> {
  return { [`${S}/ns/app:v1`]: `${D}/copy/app` };
}

compat(1, "./image-syncer.json is used when no config is named", () =>
  withScene(async (scene) => {
    await scene.write("image-syncer.json", { auth: scene.auth(), images: rule(scene) });
    assertExit(await scene.run([]), 0);
    assertEquals(scene.tagsAt("copy/app"), ["v1"]);
  }));

for (
  const [auth, images] of [["json", "yaml"], ["yaml", "json"], ["yml", "yml"], ["json", "json"]] as const
) {
  compat(
    2,
    `--auth FILE.${auth} and --images FILE.${images} are read by their extensions`,
    () =>
      withScene(async (scene) => {
        const write = (name: string, format: string, value: Record<string, unknown>) =>
          scene.write(`${name}.${format}`, format === "json" ? value : yamlOf(value));
        const args = ["--auth", await write("auth", auth, scene.auth())];
        args.push("--images", await write("images", images, rule(scene)));
        assertExit(await scene.run(args), 0);
        assertEquals(scene.tagsAt("copy/app"), ["v1"]);
      }),
  );
}

compat(
  3,
  "--config FILE.yaml has auth and images, and --auth and --images beside it do not count",
  () =>
    withScene(async (scene) => {
      const [source = "", destination = ""] = Object.entries(rule(scene))[0] ?? [];
      const auth = [scene.S, scene.D].map((host) => `  ${host}:\n    insecure: true\n`).join("");
      const config = await scene.write("config.yaml", `auth:\n${auth}images:\n  ${source}: ${destination}\n`);
      const other = await scene.write("other.json", { [`${scene.S}/ns/app:v2`]: `${scene.D}/copy/other` });
      const empty = await scene.write("empty.json", {});
      assertExit(await scene.run(["--config", config, "--auth", empty, "--images", other]), 0);
      assertEquals([...scene.destination.repositories.keys()], ["copy/app"]);
    }),
);

compat(
  4,
  "--images without --auth runs, and warns that there is no authentication",
  () =>
    withScene(async (scene) => {
      const images = await scene.write("images.json", rule(scene));
      const environment = { SSL_CERT_FILE: scene.workspace.path("ca.pem") };
      const result = await scene.run(["--images", images], { environment });
      assertExit(result, 0);
      assertMatch(result.stderr, /^warn: .*--auth/m);
      assertEquals(scene.tagsAt("copy/app"), ["v1"]);
    }, { tls: true }),
);

compat(5, "without any rules it is a usage error, in the words of v1.5.5", () =>
  withScene(async (scene) => {
    for (const args of [[], ["--auth", await scene.write("auth.json", {})]]) {
      const result = await scene.run(args);
      // Exit code 255 there; 2 is ours for every usage error.
      assertExit(result, 2);
      assertStringIncludes(result.stderr, "neither config.json nor images.json is provided");
    }
  }));

for (
  const flags of [["-p", "8", "-r", "3"], ["-p8", "-r3"], ["--proc=8", "--retries=3"], [
    "--proc",
    "8",
    "--retries",
    "3",
  ]]
) {
  compat(
    6,
    `${flags.join(" ")} is understood`,
    () => withScene(async (scene) => assertExit(await scene.sync(rule(scene), flags), 0)),
  );
}

compat(6, "it passes twice over what failed unless told", () =>
  withScene(async (scene) => {
    const result = await scene.sync(rule(scene));
    assertExit(result, 1);
    assertEquals(
      result.lines.filter((line) => line === "Start to retry sync tasks, please wait ...").length,
      2,
    );
  }, { destination: { intercept: ({ method }) => method === "PUT" ? busy() : undefined } }));

function busy(): Response {
  return new Response("busy", { status: 503, headers: { "retry-after": "0" } });
}

compat(
  7,
  "--registry, --namespace, --records and --log are understood, and a flag wins over the environment",
  () =>
    withScene(async (scene) => {
      const images = { [`${scene.S}/ns/app:v1`]: "" };
      const environment = { DEFAULT_REGISTRY: scene.D, DEFAULT_NAMESPACE: "environment" };
      assertExit(await scene.sync(images, [], { environment }), 0);
      const paths = ["records", "log"].map((name) => scene.workspace.path(name));
      const flags = [
        "--registry",
        scene.D,
        "--namespace",
        "flag",
        "--records",
        paths[0] ?? "",
        "--log",
        paths[1] ?? "",
      ];
      assertExit(
        await scene.sync(images, flags, { environment: { ...environment, DEFAULT_REGISTRY: "x.invalid" } }),
        0,
      );
      assertEquals([...scene.destination.repositories.keys()].sort(), ["environment/app", "flag/app"]);
      for (const path of paths) assert((await Deno.stat(path)).isFile, path);
    }),
);

compat(
  8,
  "--os and --arch may be repeated and be empty, and the other flags of v1.5.5 are understood",
  () =>
    withScene(async (scene) => {
      const platforms = ["--os", "linux", "--os", "", "--arch", "amd64", "--arch=arm64", "--arch", ""];
      const outputs = [
        "--output-success-images",
        scene.workspace.path("done"),
        "--output-images-format",
        "json",
      ];
      assertExit(await scene.sync(rule(scene), [...platforms, "--force", ...outputs]), 0);
      assertEquals(scene.tagsAt("copy/app"), ["v1"]);
      const none = await scene.sync(rule(scene), ["--os", "", "--arch", ""]);
      assertExit(none, 0);
    }),
);

compat(
  9,
  "--images with another extension is refused, --config with one is read as the JSON it is",
  () =>
    withScene(async (scene) => {
      const images = await scene.write("images.conf", yamlOf(rule(scene)));
      const refused = await scene.run(["--images", images]);
      assertExit(refused, 2);
      assertStringIncludes(refused.stderr, "only one of yaml/yml/json format is supported");
      const config = await scene.write("config.conf", { auth: scene.auth(), images: rule(scene) });
      assertExit(await scene.run(["--config", config]), 0);
      assertEquals(scene.tagsAt("copy/app"), ["v1"]);
    }),
);

compat(10, "fields nobody knows are ignored, with a warning", () =>
  withScene(async (scene) => {
    const auth = scene.auth({ "unused.test": { username: "robot", password: "x", comment: "of the CI" } });
    const config = await scene.write("config.json", { auth, images: rule(scene), comment: "nightly" });
    const result = await scene.run(["--config", config]);
    assertExit(result, 0);
    for (const key of [`"comment"`, `"auth.unused.test.comment"`]) assertStringIncludes(result.stderr, key);
  }));

compat(
  11,
  "a flag nobody knows ends it, with what is near and where usage is shown",
  () =>
    withScene(async (scene) => {
      const result = await scene.sync(rule(scene), ["--recrods", "x"]);
      assertExit(result, 2);
      assertMatch(result.stderr, /"--recrods".*"--records"/);
      assertMatch(result.stderr, /--help|Usage/i);
      assertEquals(scene.source.requests.length, 0);
    }),
);

compat(12, "JSON may have comments and trailing commas", () =>
  withScene(async (scene) => {
    const [[source, destination] = []] = Object.entries(rule(scene));
    const text = `{ // nightly
      "auth": ${JSON.stringify(scene.auth())}, /* both plain */
      "images": { "${source}": "${destination}", },
    }`;
    assertExit(await scene.run(["--config", await scene.write("config.json", text)]), 0);
    assertEquals(scene.tagsAt("copy/app"), ["v1"]);
  }));

// The last one won there, silently: an image was not copied and nobody was told.
compat(12, "a source that stands twice is an error that names both lines", () =>
  withScene(async (scene) => {
    const text =
      `{ "images": {\n  "a.test/x": "b.test/x",\n  "c.test/y": "b.test/y",\n  "a.test/x": "b.test/z"\n} }`;
    const yaml = `images:\n  a.test/x: b.test/x\n  c.test/y: b.test/y\n  a.test/x: b.test/z\n`;
    for (const [name, content, lines] of [["c.json", text, [4, 2]], ["c.yaml", yaml, [4, 2]]] as const) {
      const result = await scene.run(["--config", await scene.write(name, content)]);
      assertExit(result, 2);
      assertMatch(result.stderr, new RegExp(`a\\.test/x.*line ${lines[0]}\\D.*line ${lines[1]}\\b`));
    }
  }));
