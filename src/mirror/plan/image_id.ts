/** Step 5 of the walk, the plan: what tells one image to copy from another. */

/**
 * Name of an image in plans, events and reports.
 *
 * @param source Its source, as users write it.
 * @param platforms What is wanted of it; all of it without them, which is another image.
 */
export function imageId(source: string, platforms?: readonly string[]): string {
  return platforms === undefined ? source : `${source} (${platforms.join(", ")})`;
}
