/** The command line with credentials as a machine holds them: a helper program, a store of them, and an identity token. */

import { assert, assertEquals } from "@std/assert";
import { buildImage, pushImage } from "../images.ts";
import { createRegistry, serve } from "../registry.ts";

const CLI = new URL("../../cli.ts", import.meta.url).href;
const USER = { username: "robot", password: "helper-secret" };

/** What `docker-credential-test` does: hands out one login for whatever host it is asked for, and notes the host. */
const HELPER = `#!/bin/sh
cat > "$(dirname "$0")/asked"
printf '{"ServerURL":"","Username":"${USER.username}","Secret":"${USER.password}"}'
`;

interface Scene {
  /** Registry that demands a token, with the token service beside it. */
  host: string;
  directory: string;
  /** Copies the image with a `config.json` of Docker, all allowed unless told, and gives all that was printed. */
  copyWith(dockerConfig: unknown, permissions?: string[]): Promise<string>;
}

async function withScene(run: (scene: Scene) => Promise<void>): Promise<void> {
  const users = { [USER.username]: { password: USER.password } };
  const source = createRegistry({ auth: { type: "bearer", users } });
  pushImage(source, "team/app", "v1", buildImage());
  await using sourceServer = serve(source);
  await using destinationServer = serve(createRegistry());
  const directory = await Deno.makeTempDir({ prefix: "image-syncer-" });
  try {
    await Deno.writeTextFile(`${directory}/docker-credential-test`, HELPER, { mode: 0o755 });
    const auth = { [sourceServer.host]: { insecure: true }, [destinationServer.host]: { insecure: true } };
    const images = { [`${sourceServer.host}/team/app`]: `${destinationServer.host}/team/app` };
    await Deno.writeTextFile(`${directory}/cfg.json`, JSON.stringify({ auth, images }));
    await run({
      host: sourceServer.host,
      directory,
      copyWith: async (dockerConfig, permissions = ["-A"]) => {
        await Deno.writeTextFile(`${directory}/config.json`, JSON.stringify(dockerConfig));
        const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
          args: ["run", ...permissions, "--quiet", "--no-prompt", CLI, "--config", "cfg.json"],
          cwd: directory,
          env: {
            DOCKER_CONFIG: directory,
            PATH: `${directory}:${Deno.env.get("PATH")}`,
            DENO_NO_UPDATE_CHECK: "1",
          },
        }).output();
        const printed = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
        assertEquals(code, 0, printed);
        return printed;
      },
    });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

for (
  const [name, configFor] of [
    ["credHelpers", (host: string) => ({ credHelpers: { [host]: "test" } })],
    ["credsStore", () => ({ credsStore: "test" })],
  ] as const
) {
  Deno.test(`cli.ts logs in with docker-credential-test from ${name}`, () =>
    withScene(async ({ host, directory, copyWith }) => {
      const printed = await copyWith(configFor(host));
      assert(!printed.includes(USER.password), printed);
      assertEquals((await Deno.readTextFile(`${directory}/asked`)).trim(), host);
    }));
}

Deno.test("cli.ts logs in with an identity token, which it exchanges at the token service", () =>
  withScene(async ({ host, copyWith }) => {
    const query = "service=registry&offline_token=true&client_id=test&scope=repository:team/app:pull";
    const authorization = `Basic ${btoa(`${USER.username}:${USER.password}`)}`;
    const response = await fetch(`http://${host}/token?${query}`, { headers: { authorization } });
    const { refresh_token: identitytoken } = await response.json();
    assert(typeof identitytoken === "string");
    const printed = await copyWith({ auths: { [host]: { auth: btoa(`${USER.username}:`), identitytoken } } });
    assert(!printed.includes(identitytoken), printed);
  }));

/** README's narrow permissions, with names where it has none; the helper is found by the PATH of the process. */
const NARROW = ["--allow-net", "--allow-read=.", "--allow-write=.", "--allow-run=docker-credential-test"];

for (const variables of ["--allow-env", "--allow-env=DOCKER_CONFIG,DEFAULT_REGISTRY,HTTPS_PROXY"]) {
  Deno.test(`cli.ts logs in with docker-credential-test under README's narrow permissions and ${variables}`, () =>
    withScene(async ({ host, directory, copyWith }) => {
      await copyWith({ credHelpers: { [host]: "test" } }, [...NARROW, variables]);
      assertEquals((await Deno.readTextFile(`${directory}/asked`)).trim(), host);
    }));
}
