/** Tests that the picture of a run in CONTRIBUTING.md is true: each file imports those that stand below it. */

import { assert, assertEquals } from "@std/assert";
import { measureHouse } from "./house.ts";

/** Files of the picture, each with the one that it stands below. */
async function readPicture(): Promise<{ path: string; parent: string | undefined }[]> {
  const text = await Deno.readTextFile(new URL("../CONTRIBUTING.md", import.meta.url));
  const [, picture = ""] = /```text\n([\s\S]*?)```/.exec(text) ?? [];
  const trail: string[] = [];
  return picture.split("\n").flatMap((line) => {
    const match = /^([│├└─\s]*)(src\/\S+\.ts)/.exec(line);
    if (match === null) return [];
    const depth = (match[1] ?? "").length / 4;
    const path = match[2] ?? "";
    trail.length = depth;
    const parent = trail.at(-1);
    trail.push(path);
    return [{ path, parent }];
  });
}

Deno.test("the picture of a run in CONTRIBUTING.md is true", async () => {
  const picture = await readPicture();
  assert(picture.length > 20, `${picture.length} files`);
  const { files } = await measureHouse();
  const imports = new Map(files.map((file) => [file.path, file.imports]));
  const wrong = picture.filter(({ path, parent }) =>
    !imports.has(path) || parent !== undefined && !imports.get(parent)?.includes(path)
  );
  assertEquals(wrong, []);
});
