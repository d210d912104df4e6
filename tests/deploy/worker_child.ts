/** A process that mirrors a config and shares the work with others through one Deno KV database on disk. */

import { openConfigRegistries } from "../../src/machine/network/config_registries.ts";
import { IMAGE_LEASE, shareWork } from "../../src/machine/workers/shared_work.ts";
import { openKvLocation } from "../../src/deno/kv_location.ts";
import { parseConfig } from "../../src/mirror/config/config_text.ts";
import { mirror } from "../../src/mirror/run.ts";
import { Registries } from "../../src/registry/registries.ts";

const [path = "", text = "", lifetime = "30000"] = Deno.args;
const config = parseConfig(text);
const { store, leases: leasesOf, close } = await openKvLocation(path, {
  onWarning: (message) => console.error(message),
});
if (leasesOf === undefined) throw new Error("Cannot share work: there is no database");
const opened = openConfigRegistries(config);
const leases = leasesOf(Number(lifetime));
const shared = shareWork(leases, { store, onWarning: (message) => console.error(message) });
const report = await mirror(config.rules, { registries: new Registries(opened.options), store, ...shared });
console.log(JSON.stringify({ totals: report.totals }));
await leases.clearDead(IMAGE_LEASE);
opened.close();
await close();
