/** `--output-success-images`: which images are at their destinations, for whoever goes on with them. */

import type { Report } from "../../mirror/report.ts";

/** Every source whose image is at a destination, copied or unchanged, with those destinations. */
export function successImages(report: Report): Record<string, string[]> {
  const images: Record<string, string[]> = {};
  for (const task of report.tasks) {
    const there = task.destinations.filter(({ status }) => status === "copied" || status === "unchanged");
    if (there.length > 0) {
      // Whichever registry answers first: the file is the same for the same images, so that runs can be compared.
      images[task.source] = [
        ...images[task.source] ?? [],
        ...there.map((one) => one.reference),
      ].sort();
    }
  }
  return images;
}

/** Writes them as image-syncer v1.5.5 does: a map from source to destinations, in YAML or as one JSON object. */
export async function formatImages(
  images: Record<string, string[]>,
  format: "yaml" | "json",
): Promise<string> {
  if (format === "json") return `${JSON.stringify(images)}\n`;
  const { formatYaml } = await import("../config/yaml_source.ts");
  return formatYaml(images);
}
