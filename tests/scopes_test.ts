/** What a token is good for: scopes put together, and compared. */

import { assertEquals } from "@std/assert";
import { coversScopes, mergeScopes } from "../src/registry/login/scopes.ts";

Deno.test("mergeScopes() makes one scope of each resource, with all actions", () => {
  assertEquals(mergeScopes([]), []);
  assertEquals(mergeScopes(["repository:b:pull", "repository:a:pull,push", "repository:b:pull,push"]), [
    "repository:a:pull,push",
    "repository:b:pull,push",
  ]);
  assertEquals(mergeScopes(["registry:catalog:*", "aws", "aws"]), ["aws", "registry:catalog:*"]);
  assertEquals(mergeScopes(["repository:host:5000/a:pull", "repository:host:5000/b:pull"]).length, 2);
});

Deno.test("coversScopes() wants every action on every resource", () => {
  const granted = ["repository:a:pull,push", "repository:b:pull", "aws"];
  for (
    const wanted of [[], ["repository:a:pull"], ["repository:a:push,pull", "repository:b:pull"], ["aws"]]
  ) {
    assertEquals(coversScopes(granted, wanted), true, `${wanted}`);
  }
  for (const wanted of [["repository:b:push"], ["repository:c:pull"], ["repository:a:delete"]]) {
    assertEquals(coversScopes(granted, wanted), false, `${wanted}`);
  }
});
