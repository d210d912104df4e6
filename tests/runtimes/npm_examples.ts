/** The programs that README.md shows to users of the npm package. They are run as they stand. */

/** A mirror on Node or Bun, with hashing and a memory that outlives it. Its arguments are a source and a destination. */
export const NODE_EXAMPLE = `import { createHash } from "node:crypto";
import { setMaxListeners } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { MemoryStore, mirror, parseConfig, Registries } from "@image-syncer/image-syncer";

const [source, destination] = process.argv.slice(2);
if (source === undefined || destination === undefined) {
  console.error("Usage: node mirror.mjs SOURCE DESTINATION");
  process.exit(2);
}

// A store: what is remembered saves requests the next time. Any object with get, set, delete, list, flush and close will do.
const store = new MemoryStore();
const facts = JSON.parse(await readFile("records.json", "utf8").catch(() => "[]"));
for (const { key, value } of facts) await store.set(key, value);

// Ctrl-C ends the run early; the next one goes on from there. Everything under way listens to this one signal.
const stop = new AbortController();
setMaxListeners(0, stop.signal);
process.once("SIGINT", () => stop.abort());

const { rules } = parseConfig(JSON.stringify({ images: { [source]: destination } }));
const registries = new Registries({
  credentials: async (registry) => ({ username: "robot", password: process.env.REGISTRY_PASSWORD ?? "" }),
  isInsecure: (registry) => registry.startsWith("127.0.0.1:"),
  signal: stop.signal,
});
const { totals, tasks } = await mirror(rules, {
  registries,
  store,
  // Hashes every blob as it passes; without it blobs above 1 MiB are checked by their destinations alone.
  createHasher: (algorithm) => {
    const hash = createHash(algorithm);
    return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest("hex") };
  },
});
for (const { source, error } of tasks) if (error !== undefined) console.error(\`\${source}: \${error}\`);
console.log(\`\${totals.copied} copied, \${totals.unchanged} unchanged, \${totals.failed + totals.rulesFailed} failed\`);

const known = [];
for await (const fact of store.list([])) known.push(fact);
await writeFile("records.json", JSON.stringify(known));
process.exitCode = totals.failed + totals.rulesFailed === 0 ? 0 : 1;
`;

/** A mirror in a worker: nothing but what a worker has. */
export const WORKER_EXAMPLE = `import { mirror, Registries } from "@image-syncer/image-syncer";

async function run(env) {
  const registries = new Registries({
    credentials: async (registry) => ({ username: "robot", password: env.REGISTRY_PASSWORD }),
    isInsecure: (registry) => registry.startsWith("127.0.0.1:"),
  });
  const rules = [{ source: env.SOURCE, destinations: [env.DESTINATION] }];
  // A worker has six connections: two blobs at once take four.
  return await mirror(rules, { registries, concurrency: 2 });
}

export default {
  async fetch(_request, env) {
    return Response.json((await run(env)).totals);
  },
  async scheduled(_controller, env) {
    const { totals } = await run(env);
    if (totals.failed + totals.rulesFailed > 0) throw new Error("the mirror is not complete");
  },
};
`;
