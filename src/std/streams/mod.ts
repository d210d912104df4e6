/**
 * The stream helpers this project uses, under the names of `@std/streams`.
 *
 * @module
 */

export * from "./limited_bytes_transform_stream.ts";
export * from "./text_line_stream.ts";
export * from "./to_bytes.ts";
export * from "./to_json.ts";
export * from "./to_text.ts";
