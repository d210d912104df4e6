/** Tests of platforms as users select them. */

import { assertEquals, assertThrows } from "@std/assert";
import { matchesPlatform, parsePlatformSelector, PlatformError, platformsOf } from "../src/oci/platform.ts";

function matches(wanted: string, os: string, architecture: string, variant?: string): boolean {
  const platform = variant === undefined ? { os, architecture } : { os, architecture, variant };
  return matchesPlatform(platform, [parsePlatformSelector(wanted)]);
}

Deno.test("parsePlatformSelector() reads os, architecture and variant", () => {
  assertEquals(parsePlatformSelector("linux/amd64"), { os: "linux", architecture: "amd64" });
  assertEquals(parsePlatformSelector(" Linux/ARM/v7 "), { os: "linux", architecture: "arm", variant: "v7" });
});

Deno.test("parsePlatformSelector() takes a star for any", () => {
  assertEquals(parsePlatformSelector("*/arm64"), { architecture: "arm64" });
  assertEquals(parsePlatformSelector("linux/*"), { os: "linux" });
  assertEquals(parsePlatformSelector("*/*/*"), {});
});

Deno.test("parsePlatformSelector() refuses everything else", () => {
  for (const text of ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64", "linux/**", "linux//v7"]) {
    assertThrows(() => parsePlatformSelector(text), PlatformError, `Cannot parse platform "${text}"`);
  }
});

Deno.test("matchesPlatform() compares what is selected and nothing else", () => {
  assertEquals(matches("linux/amd64", "linux", "amd64"), true);
  assertEquals(matches("linux/amd64", "linux", "arm64"), false);
  assertEquals(matches("linux/amd64", "windows", "amd64"), false);
  assertEquals(matches("*/amd64", "windows", "amd64"), true);
  assertEquals(matches("linux/arm", "linux", "arm", "v6"), true);
  assertEquals(matches("linux/arm/v7", "linux", "arm", "v6"), false);
  assertEquals(matches("linux/amd64/v3", "linux", "amd64"), false);
});

Deno.test("matchesPlatform() knows what no variant means", () => {
  assertEquals(matches("linux/arm/v7", "linux", "arm"), true);
  assertEquals(matches("linux/arm/v6", "linux", "arm"), false);
  assertEquals(matches("linux/arm64/v8", "linux", "arm64"), true);
  assertEquals(matches("linux/arm64", "linux", "arm64", "v8"), true);
});

Deno.test("matchesPlatform() is satisfied by any of several, and by none of none", () => {
  const selectors = ["linux/amd64", "linux/arm64"].map(parsePlatformSelector);
  assertEquals(matchesPlatform({ os: "linux", architecture: "arm64" }, selectors), true);
  assertEquals(matchesPlatform({ os: "linux", architecture: "arm64" }, []), false);
});

Deno.test("platformsOf() makes every pair of systems and architectures", () => {
  assertEquals(platformsOf(["linux", "windows"], ["amd64", "arm:v7"]), [
    "linux/amd64",
    "linux/arm/v7",
    "windows/amd64",
    "windows/arm/v7",
  ]);
});

Deno.test("platformsOf() takes any where nothing is named, and nothing where neither is", () => {
  assertEquals(platformsOf([], ["arm64"]), ["*/arm64"]);
  assertEquals(platformsOf(["linux"], [""]), ["linux/*"]);
  assertEquals(platformsOf([""], []), []);
});

Deno.test("platformsOf() refuses a malformed name", () => {
  assertThrows(() => platformsOf(["lin ux"], ["amd64"]), PlatformError);
  assertThrows(() => platformsOf([], ["a:b:c"]), PlatformError);
});
