/** Answers that lie, at each kind of request: the image is copied and whole, or it has failed; never anything else. */

import { assertEquals } from "@std/assert";
import { runCase } from "./case_run.ts";
import type { FaultRule, ProxiedRequest } from "../fault_proxy.ts";
import type { FaultCase, NamedFault, Side } from "./cases.ts";
import { openMemoryRegistry } from "./workbench.ts";

const REQUESTS: readonly [side: Side, request: string][] = [
  ["source", "GET ping"],
  ["source", "HEAD manifest"],
  ["source", "GET manifest"],
  ["source", "GET blob"],
  ["destination", "GET ping"],
  ["destination", "GET tags"],
  ["destination", "HEAD manifest"],
  ["destination", "HEAD blob"],
  ["destination", "POST upload"],
  ["destination", "PUT upload"],
  ["destination", "PUT manifest"],
];

function lie(status: number, headers: Record<string, string> = {}, body = ""): NamedFault {
  const what = body === "" ? "" : ` and "${body}"`;
  return { name: `${status}${what}`, fault: { type: "answer", status, headers, body }, isLie: true };
}

const JSON_TYPE = { "content-type": "application/json" };

const LIES: readonly NamedFault[] = [
  lie(200),
  lie(200, { "content-type": "text/html" }, "<html>log in</html>"),
  lie(200, JSON_TYPE, "{}"),
  lie(200, JSON_TYPE, "null"),
  lie(200, { ...JSON_TYPE, "docker-content-digest": `sha256:${"0".repeat(64)}` }, "[]"),
  lie(200, { "content-type": "application/vnd.oci.image.index.v1+json" }, `{"manifests":[]}`),
  lie(201),
  lie(202, { location: "http://[broken" }),
  lie(204),
  lie(206, { "content-range": "bytes 5-9/10" }, "12345"),
  lie(304),
  lie(400, JSON_TYPE, `{"errors":null}`),
  lie(401, { "www-authenticate": "Bearer realm=" }),
  lie(403),
  lie(404),
  lie(405),
  lie(416),
  lie(999),
  { name: "a redirect loop", fault: { type: "redirect-loop" }, isLie: true },
  { name: "garbage", fault: { type: "garbage" }, isLie: true },
];

function isFor(request: string): (request: ProxiedRequest) => boolean {
  return ({ method, kind }) => `${method} ${kind}` === request;
}

for (const [side, request] of REQUESTS) {
  for (const repeat of ["once", "for ever"] as const) {
    Deno.test(`mirror() is told lies at ${request} of the ${side}, ${repeat}`, async () => {
      const results = [];
      for (const told of LIES) results.push(await tell(told, { side, request, repeat }));
      assertEquals(results, LIES.map(({ name }) => `${name}: right`));
    });
  }
}

async function tell(
  told: NamedFault,
  { side, request, repeat }: { side: Side; request: string; repeat: "once" | "for ever" },
): Promise<string> {
  const rule: FaultRule = {
    fault: told.fault,
    matches: isFor(request),
    times: repeat === "once" ? 1 : Infinity,
  };
  const line: FaultCase = { ...told, side, repeat, target: "each URL", outcome: "either" };
  await using source = await openMemoryRegistry();
  await using destination = await openMemoryRegistry();
  try {
    await runCase(line, { source, destination, rule });
    return `${told.name}: right`;
  } catch (error) {
    return `${told.name}: ${error}`;
  }
}
