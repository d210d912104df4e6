/**
 * Mixed weather: 5 or 30 of 100 answers of both sides are 401, 500, 503, 429, lost or cut, over 200 images, on a clock that
 * passes at once. `FAULT_SEED` runs one seed again, `FAULT_RUNS` makes more runs (`deno task long` makes 20 of each).
 */

import { assert, assertEquals } from "@std/assert";
import { buildImage, buildLayer, createRandom, type Image, pushImage } from "../images.ts";
import { blobBytesFrom, DESTINATION, MirrorSetup, SOURCE } from "../mirror_setup.ts";
import type { AuthOptions, Handler } from "../registry.ts";
import { faultSeed } from "./fuzzer.ts";

const RUNS = Number(Deno.env.get("FAULT_RUNS") ?? "2");
const IMAGES = 200;
const REPOSITORIES = 10;
const AUTH: AuthOptions = { type: "bearer", users: { robot: { password: "secret" } } };

/** What strikes: an answer in place of the registry's, none at all (before the request was seen, or after), half of its own. */
const KINDS = ["401", "500", "503", "429", "reset", "lost", "cut"] as const;

function image(number: number): Image {
  // Every tenth has a layer that is streamed and may be cut; the others are as small as most that there are.
  const large = number % 10 === 0 ? [buildLayer(number, 1_200_000)] : [];
  return buildImage({ seed: number, layers: [buildLayer(100_000 + number), ...large] });
}

/** A registry some of whose answers are not those that it gave. */
function weather(random: () => number, chance: number): (handler: Handler) => Handler {
  return (handler) => async (request) => {
    if (random() >= chance || new URL(request.url).pathname.includes("token")) return await handler(request);
    const kind = KINDS[Math.floor(random() * KINDS.length)] ?? "500";
    if (kind === "cut") return cut(await handler(request));
    if (kind === "lost") await (await handler(request)).body?.cancel();
    else await request.body?.cancel();
    if (kind === "lost" || kind === "reset") {
      throw new TypeError("error sending request: connection reset by peer");
    }
    const { host } = new URL(request.url);
    const challenge = `Bearer realm="https://${host}/token",service="${host}"`;
    const headers: HeadersInit = kind === "401"
      ? { "www-authenticate": challenge }
      : kind === "429"
      ? { "retry-after": "1" }
      : {};
    return new Response(null, { status: Number(kind), headers });
  };
}

/** Half of an answer's body, and then the connection is gone. */
function cut(answer: Response): Response {
  if (answer.body === null) return answer;
  let left = Number(answer.headers.get("content-length") ?? 0) / 2;
  const body = answer.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform: (piece, controller) => {
        if (left < piece.length) {
          controller.error(new TypeError("connection closed before message completed"));
        } else controller.enqueue(piece);
        left -= piece.length;
      },
    }),
  );
  return new Response(body, answer);
}

interface Outcome {
  copied: number;
  /** Bytes of blobs that the source gave. */
  bytes: number;
}

async function runOnce(seed: number, chance: number): Promise<Outcome> {
  const random = createRandom(seed);
  const credentials = () => Promise.resolve({ username: "robot", password: "secret" });
  const setup = new MirrorSetup({
    source: { auth: AUTH },
    destination: { auth: AUTH },
    wrap: { [SOURCE]: weather(random, chance), [DESTINATION]: weather(random, chance) },
    registries: { credentials },
  });
  setup.clock.chance = random();
  for (let number = 0; number < IMAGES; number++) {
    pushImage(setup.source, `from/r${number % REPOSITORIES}`, `t${number}`, image(number));
  }
  const rules = Array.from({ length: REPOSITORIES }, (_, number): [string, string] => [
    `${SOURCE}/from/r${number}`,
    `${DESTINATION}/to/r${number}`,
  ]);
  const report = await setup.run(Object.fromEntries(rules));
  const why = [...report.tasks.flatMap(({ error = [] }) => error), ...report.rules.map(({ error }) => error)];
  assertEquals([report.totals.failed, report.totals.rulesFailed], [0, 0], why.slice(0, 3).join("\n"));
  return { copied: report.totals.copied, bytes: blobBytesFrom(setup.source) };
}

for (const chance of [0.05, 0.3]) {
  Deno.test(`mirror() is complete though ${chance * 100} of 100 answers of both sides are wrong, lost or cut`, async () => {
    const first = faultSeed();
    const { bytes: needed } = await runOnce(first, 0);
    for (let index = 0; index < RUNS; index++) {
      const { copied, bytes } = await runOnce(first + index, chance).catch((cause) => {
        throw new Error(`FAULT_SEED=${first + index} FAULT_RUNS=1: ${cause}`, { cause });
      });
      assertEquals(copied, IMAGES);
      const extra = (bytes / needed - 1) * 100;
      console.log(
        `mixed: ${chance * 100} %, FAULT_SEED=${first + index}: ${extra.toFixed(1)} % extra source bytes`,
      );
      if (chance === 0.05) assert(extra <= 5, `${extra} % extra source bytes`);
    }
  });
}
