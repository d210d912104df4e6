/** The machine's credentials: files, keys, helpers, and what is wrong with them. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { CredentialError, normalKey } from "../src/machine/login/auth_file.ts";
import { type MachineCredentialsOptions, openMachineCredentials } from "../src/machine/login/credentials.ts";
import { HelperLimitError, helperRunner } from "../src/machine/login/helper_process.ts";
import { faultOf } from "../src/machine/system_error.ts";
import { inDirectory } from "./store_files.ts";

const HOME = "/home/someone";
const DOCKER = `${HOME}/.docker/config.json`;
const NOT_FOUND = { code: 1, output: "credentials not found in native keychain\n" };
const HELPER_SKIP = Deno.build.os === "windows";

interface Machine {
  env?: Record<string, string>;
  files?: Record<string, unknown>;
  runHelper?: MachineCredentialsOptions["runHelper"];
}

/** A machine of which nothing is real. */
function machine({ env = {}, files = {}, runHelper }: Machine) {
  const warnings: string[] = [];
  const reads: string[] = [];
  const credentials = openMachineCredentials({
    env: (name) => ({ HOME, ...env })[name],
    readTextFile: (path) => {
      reads.push(path);
      const file = files[path];
      if (file === undefined) return Promise.reject(new Deno.errors.NotFound(`no such file: ${path}`));
      if (file instanceof Error) return Promise.reject(file);
      return Promise.resolve(typeof file === "string" ? file : JSON.stringify(file));
    },
    runHelper: runHelper ?? (() => Promise.reject(new Error("no helper is expected to run"))),
    onWarning: (message) => warnings.push(message),
  });
  return { ...credentials, warnings, reads };
}

function auth(user: string, password: string): { auth: string } {
  return { auth: btoa(String.fromCharCode(...new TextEncoder().encode(`${user}:${password}`))) };
}

Deno.test("find() returns a user and a password that has colons and letters outside ASCII", async () => {
  const { find } = machine({ files: { [DOCKER]: { auths: { "ghcr.io": auth("robot", "a:b:ü€") } } } });
  assertEquals(await find("ghcr.io", "acme/app"), {
    credential: { username: "robot", password: "a:b:ü€" },
    origin: "~/.docker/config.json (auths: ghcr.io)",
  });
  assertEquals(await find("quay.io", "acme/app"), undefined);
});

Deno.test("find() takes the longest key that a repository starts with, in whole parts", async () => {
  const auths = {
    "reg.test:5000": auth("host", "p"),
    "reg.test:5000/acme": auth("acme", "p"),
    "https://reg.test:5000/acme/app": auth("app", "p"),
  };
  const { find } = machine({ files: { [DOCKER]: { auths } } });
  const userFor = async (repository: string) =>
    (await find("reg.test:5000", repository))?.credential.username;
  assertEquals(await userFor("acme/app"), "app");
  assertEquals(await userFor("acme/app/deep"), "app");
  assertEquals(await userFor("acme/apple"), "acme");
  assertEquals(await userFor("acmes/app"), "host");
});

Deno.test("normalKey() knows schemes, API versions and every name of Docker Hub", () => {
  const hub = ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry.hub.docker.com"];
  for (const key of [...hub, "registry-1.docker.io", "https://registry-1.docker.io/v2/"]) {
    assertEquals(normalKey(key), "docker.io", key);
  }
  assertEquals(normalKey("http://Reg.Test:5000/v2/"), "reg.test:5000");
  assertEquals(normalKey("ghcr.io/acme/"), "ghcr.io/acme");
  assertEquals(normalKey("ghcr.io/acme/v2"), "ghcr.io/acme/v2");
});

Deno.test("find() finds Docker Hub's credential under any of its names", async () => {
  for (const key of ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"]) {
    const { find } = machine({ files: { [DOCKER]: { auths: { [key]: auth("me", "p") } } } });
    for (const registry of ["docker.io", "index.docker.io", "registry.hub.docker.com"]) {
      assertEquals((await find(registry, "library/nginx"))?.credential.username, "me", `${key} ${registry}`);
    }
  }
});

Deno.test("find() reads every form of an entry", async () => {
  const auths = {
    "plain.test": { username: "u", password: "p" },
    "identity.test": { ...auth("00000000-0000-0000-0000-000000000000", ""), identitytoken: "refresh" },
    "registry.test": { registrytoken: "bearer", identitytoken: "refresh" },
    "padded.test": auth("u", "p\0\0"),
    "empty.test": {},
  };
  const { find } = machine({ files: { [DOCKER]: { auths } } });
  const credentialOf = async (registry: string) => (await find(registry, "r"))?.credential;
  assertEquals(await credentialOf("plain.test"), { username: "u", password: "p" });
  assertEquals(await credentialOf("identity.test"), { identityToken: "refresh" });
  assertEquals(await credentialOf("registry.test"), { registryToken: "bearer" });
  assertEquals(await credentialOf("padded.test"), { username: "u", password: "p" });
  assertEquals(await credentialOf("empty.test"), undefined);
});

Deno.test("find() searches Docker's file, then those of podman, each read once", async () => {
  const runtime = "/run/user/1/containers/auth.json";
  const config = `${HOME}/.config/containers/auth.json`;
  const files = {
    [DOCKER]: { auths: { "one.test": auth("docker", "p") } },
    [runtime]: { auths: { "one.test": auth("runtime", "p"), "two.test": auth("runtime", "p") } },
    [config]: { auths: { "two.test": auth("config", "p"), "three.test": auth("config", "p") } },
  };
  const { find, reads } = machine({ env: { XDG_RUNTIME_DIR: "/run/user/1" }, files });
  assertEquals((await find("one.test", "r"))?.credential.username, "docker");
  assertEquals(reads, [DOCKER]);
  assertEquals((await find("two.test", "r"))?.origin, `${runtime} (auths: two.test)`);
  assertEquals((await find("three.test", "r"))?.origin, "~/.config/containers/auth.json (auths: three.test)");
  assertEquals(reads, [DOCKER, runtime, config]);
});

Deno.test("find() reads DOCKER_CONFIG instead of ~/.docker, and REGISTRY_AUTH_FILE instead of default places", async () => {
  const files = {
    [DOCKER]: { auths: { "home.test": auth("home", "p") } },
    "/d/config.json": { auths: { "one.test": auth("docker", "p"), "two.test": auth("docker", "p") } },
    "/auth.json": { auths: { "one.test": auth("named", "p") } },
  };
  const docker = machine({ env: { DOCKER_CONFIG: "/d" }, files });
  assertEquals((await docker.find("one.test", "r"))?.credential.username, "docker");
  assertEquals(await docker.find("home.test", "r"), undefined);
  const named = machine({ env: { REGISTRY_AUTH_FILE: "/auth.json" }, files });
  assertEquals((await named.find("one.test", "r"))?.credential.username, "named");
  assertEquals(await named.find("home.test", "r"), undefined);
  const both = machine({ env: { REGISTRY_AUTH_FILE: "/auth.json", DOCKER_CONFIG: "/d" }, files });
  assertEquals((await both.find("one.test", "r"))?.credential.username, "named");
  assertEquals((await both.find("two.test", "r"))?.credential.username, "docker");
});

Deno.test("find() warns once of a file that may not be read or was named in vain, and goes on", async () => {
  const denied = new Deno.errors.NotCapable(`Requires read access to "${DOCKER}"`);
  const narrow = machine({ files: { [DOCKER]: denied } });
  assertEquals(await narrow.find("one.test", "r"), undefined);
  assertEquals(await narrow.find("two.test", "r"), undefined);
  assertEquals(narrow.warnings, [
    'Cannot read credentials "~/.docker/config.json": reading it is not allowed (--allow-read); going on without',
  ]);
  const named = machine({ env: { REGISTRY_AUTH_FILE: "/gone.json" } });
  assertEquals(await named.find("one.test", "r"), undefined);
  assertEquals(named.warnings.length, 1);
  assertEquals(machine({}).warnings, []);
});

Deno.test("find() names a broken file and quotes nothing of it", async () => {
  const secret = "hunter2";
  const broken: [unknown, string][] = [
    [`{"auths": {"ghcr.io": {"auth": "${secret}"`, "it is not JSON"],
    [`["${secret}"]`, "the file must be an object"],
    [{ auths: [secret] }, '"auths" must be an object'],
    [{ auths: { "ghcr.io": secret } }, '"auths" at "ghcr.io" must be an object'],
    [{ auths: { "ghcr.io": { auth: `!${secret}!` } } }, '"auth" of "ghcr.io" is not base64'],
    [{ auths: { "ghcr.io": { auth: btoa(secret) } } }, '"auth" of "ghcr.io" is not user:password'],
  ];
  for (const [file, why] of broken) {
    const { find } = machine({ files: { [DOCKER]: file } });
    const error = await assertRejects(() => find("ghcr.io", "r"), CredentialError);
    assertEquals(error.message, `Cannot read credentials "~/.docker/config.json": ${why}`);
    const shown = Deno.inspect(error);
    assert(!shown.includes(secret) && !shown.includes(btoa(secret)), shown);
  }
});

Deno.test("find() asks credHelpers, then credsStore, then auths, and a longer key before them", async () => {
  const asked: string[] = [];
  const { find } = machine({
    files: {
      [DOCKER]: {
        credHelpers: { "one.test": "special" },
        credsStore: "store",
        auths: {
          "one.test": auth("file", "p"),
          "two.test": auth("file", "p"),
          "three.test": auth("file", "p"),
          "three.test/acme": auth("acme", "p"),
          "four.test/acme": {},
          "https://index.docker.io/v1/": {},
        },
      },
    },
    runHelper: (name, server) => {
      asked.push(`${name} ${server}`);
      if (server === "three.test") return Promise.resolve(NOT_FOUND);
      return Promise.resolve({ code: 0, output: JSON.stringify({ Username: name, Secret: "s" }) });
    },
  });
  assertEquals(await find("one.test", "r"), {
    credential: { username: "special", password: "s" },
    origin: "~/.docker/config.json (credHelpers: special)",
  });
  assertEquals((await find("two.test", "r"))?.origin, "~/.docker/config.json (credsStore: store)");
  assertEquals((await find("three.test", "acme/app"))?.credential.username, "acme");
  assertEquals((await find("three.test", "r"))?.credential.username, "file");
  assertEquals((await find("docker.io", "library/nginx"))?.credential.username, "store");
  assertEquals((await find("four.test", "acme/app"))?.origin, "~/.docker/config.json (credsStore: store)");
  const expected = [
    "special one.test",
    "store two.test",
    "store three.test",
    "store https://index.docker.io/v1/",
    "store four.test/acme",
  ];
  assertEquals(asked, expected);
});

Deno.test("find() asks a helper once for each registry, however many wait, and remembers failures", async () => {
  const asked: string[] = [];
  const { find } = machine({
    files: { [DOCKER]: { credsStore: "store" } },
    runHelper: (_, server) => {
      asked.push(server);
      if (server === "bad.test") return Promise.resolve({ code: 3, output: "" });
      return Promise.resolve({ code: 0, output: '{"Username":"<token>","Secret":"refresh"}' });
    },
  });
  const found = await Promise.all([find("ok.test", "a"), find("ok.test", "b"), find("ok.test", "a")]);
  assertEquals(found.map((one) => one?.credential), Array(3).fill({ identityToken: "refresh" }));
  await assertRejects(() => find("bad.test", "a"), CredentialError, "exit code 3");
  await assertRejects(() => find("bad.test", "b"), CredentialError, "exit code 3");
  assertEquals(asked, ["ok.test", "bad.test"]);
});

Deno.test("find() says what a helper did wrong, and nothing that may be a secret", async () => {
  const what = 'Cannot get the credential of "reg.test" from helper "store": ';
  const cases: [{ code: number; output: string } | Error, string][] = [
    [{ code: 1, output: "vault is sealed\nhunter2" }, "it ended with exit code 1: vault is sealed"],
    [{ code: 1, output: '{"Username":"me","Secret":"hunter2"}' }, "it ended with exit code 1"],
    [{ code: 1, output: `bad ${"x".repeat(24)}hunter2` }, "it ended with exit code 1"],
    [{ code: 1, output: "\x1b[31mred" }, "it ended with exit code 1: [31mred"],
    [{ code: 0, output: "hunter2" }, "its answer is not JSON"],
    [{ code: 0, output: '["hunter2"]' }, "its answer has no Username and Secret"],
    [{ code: 0, output: "null" }, "its answer has no Username and Secret"],
    [new Deno.errors.NotFound("entity not found"), 'there is no program "docker-credential-store"'],
    [new HelperLimitError("no answer within 30 s"), "no answer within 30 s"],
  ];
  for (const [result, why] of cases) {
    const { find } = machine({
      files: { [DOCKER]: { credsStore: "store" } },
      runHelper: () => result instanceof Error ? Promise.reject(result) : Promise.resolve(result),
    });
    const error = await assertRejects(() => find("reg.test", "r"), CredentialError);
    assertEquals(error.message, what + why);
    assert(!Deno.inspect(error).includes("hunter2"), Deno.inspect(error));
  }
});

Deno.test("find() refuses helper names that lead elsewhere, without running anything", async () => {
  for (const name of ["../evil", "a b", "a/b", "x;y"]) {
    const { find } = machine({ files: { [DOCKER]: { credsStore: name } } });
    await assertRejects(() => find("reg.test", "r"), CredentialError, "that is not a helper's name");
  }
});

Deno.test("find() goes on without a helper that may not be run, and with an empty answer", async () => {
  const auths = { "reg.test": auth("file", "p") };
  const narrow = machine({
    files: { [DOCKER]: { credsStore: "store", auths } },
    runHelper: () => Promise.reject(new Deno.errors.NotCapable("Requires run access")),
  });
  assertEquals((await narrow.find("reg.test", "r"))?.credential.username, "file");
  assertEquals(await narrow.find("other.test", "r"), undefined);
  assertEquals(narrow.warnings, [
    'Cannot run "docker-credential-store": it is not allowed (--allow-run); going on without',
  ]);
  const empty = machine({
    files: { [DOCKER]: { credsStore: "store", auths } },
    runHelper: () => Promise.resolve({ code: 0, output: '{"Username":"","Secret":""}' }),
  });
  assertEquals((await empty.find("reg.test", "r"))?.credential.username, "file");
});

/** Writes a helper in shell and returns the way to run it. */
async function shellHelper(directory: string, script: string, timeout?: number) {
  await Deno.writeTextFile(`${directory}/docker-credential-shell`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return helperRunner({ timeout, env: { PATH: `${directory}:${Deno.env.get("PATH")}` } });
}

Deno.test(
  { name: "helperRunner() hands over the registry and returns the answer", ignore: HELPER_SKIP },
  () =>
    inDirectory(async (directory) => {
      const script = `read server; printf '{"ServerURL":"%s","Username":"%s","Secret":"s"}' "$server" "$1"`;
      const runHelper = await shellHelper(directory, script);
      const { find } = machine({ files: { [DOCKER]: { credHelpers: { "reg.test": "shell" } } }, runHelper });
      assertEquals((await find("reg.test", "r"))?.credential, { username: "get", password: "s" });
      assertEquals((await runHelper("shell", "reg.test")).output.includes('"ServerURL":"reg.test"'), true);
      const error = await assertRejects(() => runHelper("missing", "reg.test"));
      assertEquals(faultOf(error), "missing");
    }),
);

Deno.test({
  name: "helperRunner() returns the exit code of a helper that reads nothing",
  ignore: HELPER_SKIP,
}, () =>
  inDirectory(async (directory) => {
    const runHelper = await shellHelper(directory, "echo no luck; exit 7");
    assertEquals(await runHelper("shell", "reg.test"), { code: 7, output: "no luck\n" });
  }));

Deno.test({
  name: "helperRunner() stops a helper that takes too long, with a child of its own",
  ignore: HELPER_SKIP,
}, () =>
  inDirectory(async (directory) => {
    // The background child keeps standard output open after its parent is gone.
    const runHelper = await shellHelper(directory, `sleep 3 & trap "" TERM; wait; wait`, 50);
    const startedAt = performance.now();
    await assertRejects(() => runHelper("shell", "reg.test"), HelperLimitError, "no answer within 0.05 s");
    assert(performance.now() - startedAt < 2500, "it waited for the child's child");
  }));

Deno.test(
  { name: "helperRunner() stops a helper that never ends writing", ignore: HELPER_SKIP },
  () =>
    inDirectory(async (directory) => {
      const runHelper = await shellHelper(directory, "while :; do printf '%065536d' 0; done");
      await assertRejects(() => runHelper("shell", "reg.test"), HelperLimitError, "more than 1048576 bytes");
    }),
);

for (const auth of ["!!!!", btoa("token"), 5, { nested: true }]) {
  Deno.test(`fault 60: an entry that cannot be read (${JSON.stringify(auth)}) keeps no other registry from its own`, async () => {
    const warnings: string[] = [];
    const value = typeof auth === "object" ? auth : { auth };
    const text = JSON.stringify({
      auths: { "other.test": typeof auth === "number" ? auth : value, "r.test": { auth: btoa("u:p") } },
    });
    const credentials = openMachineCredentials({
      env: (name) => name === "DOCKER_CONFIG" ? "/d" : undefined,
      readTextFile: (path) =>
        path === "/d/config.json" ? Promise.resolve(text) : Promise.reject(new Deno.errors.NotFound()),
      onWarning: (message) => warnings.push(message),
    });
    assertEquals((await credentials.find("r.test", "a"))?.credential, { username: "u", password: "p" });
    if (typeof auth === "object") return;
    assertEquals(warnings.length, 1);
    assertStringIncludes(warnings[0] ?? "", '"other.test"');
    assert(!warnings[0]?.includes(String(btoa("u:p"))));
    await assertRejects(() => credentials.find("other.test", "a"), CredentialError, '"other.test"');
  });
}

Deno.test("fault 60: a credsStore that is not installed is passed over where auths has the credential", async () => {
  const warnings: string[] = [];
  const text = JSON.stringify({ auths: { "r.test": { auth: btoa("u:p") } }, credsStore: "desktop" });
  const credentials = openMachineCredentials({
    env: (name) => name === "DOCKER_CONFIG" ? "/d" : undefined,
    readTextFile: (path) =>
      path === "/d/config.json" ? Promise.resolve(text) : Promise.reject(new Deno.errors.NotFound()),
    runHelper: () =>
      Promise.reject(new CredentialError('Cannot run "docker-credential-desktop": it is not installed')),
    onWarning: (message) => warnings.push(message),
  });
  assertEquals((await credentials.find("r.test", "a"))?.credential, { username: "u", password: "p" });
  assertStringIncludes(warnings.join(), 'using what "auths" has of "r.test"');
  await assertRejects(() => credentials.find("q.test", "a"), CredentialError, "cannot be run");
});
