/** JSON with comments and trailing commas, from text to value. */

import { readTokens, type Token } from "./tokens.ts";

/** A value that JSON can say. */
export type JsonValue =
  | { [key: string]: JsonValue | undefined }
  | JsonValue[]
  | string
  | number
  | boolean
  | null;

/**
 * Parses JSON (RFC 8259) that may have `//` and block comments and a comma after the last element or property. Of
 * properties with the same key the last one wins.
 *
 * @throws {SyntaxError} with the position, in UTF-16 code units from zero, of the token that makes no sense
 */
export function parse(text: string): JsonValue {
  const builder = new Builder();
  for (const token of readTokens(text)) builder.add(token);
  return builder.finish();
}

type JsonObject = { [key: string]: JsonValue | undefined };

/** An array or object that is still open; in an object, with the key that waits for its value. */
interface Level {
  readonly value: JsonValue[] | JsonObject;
  key: string;
}

/** What may come next. An `element` or a `key` may also be the end of its array or object. */
type Expected = "value" | "element" | "key" | "colon" | "comma" | "end";

/** Builds a value token by token. The open levels are a list, for the call stack cannot hold very deep ones. */
class Builder {
  readonly #levels: Level[] = [];
  #root: JsonValue = null;
  #expected: Expected = "value";

  add(token: Token): void {
    switch (this.#expected) {
      case "value":
        return this.#addValue(token);
      case "element":
        return token.text === "]" ? this.#close() : this.#addValue(token);
      case "key":
        return token.text === "}" ? this.#close() : this.#addKey(token);
      case "colon":
        return this.#addColon(token);
      case "comma":
        return this.#addCommaOrClose(token);
      case "end":
        throw unexpected(token);
    }
  }

  finish(): JsonValue {
    if (this.#expected === "end") return this.#root;
    throw new SyntaxError("Cannot parse JSONC: unexpected end of JSONC input");
  }

  #addValue(token: Token): void {
    if (token.text === "[") return this.#open([], "element");
    if (token.text === "{") return this.#open({}, "key");
    this.#put(parseScalar(token));
  }

  #addKey(token: Token): void {
    const level = this.#levels.at(-1);
    if (token.type !== "string" || !level) throw unexpected(token);
    level.key = String(parseScalar(token));
    this.#expected = "colon";
  }

  #addColon(token: Token): void {
    if (token.text !== ":") throw unexpected(token);
    this.#expected = "value";
  }

  #addCommaOrClose(token: Token): void {
    const isArray = Array.isArray(this.#levels.at(-1)?.value);
    if (token.text === ",") this.#expected = isArray ? "element" : "key";
    else if (token.text === (isArray ? "]" : "}")) this.#close();
    else throw unexpected(token);
  }

  #open(value: JsonValue[] | JsonObject, expected: Expected): void {
    this.#put(value);
    this.#levels.push({ value, key: "" });
    this.#expected = expected;
  }

  #close(): void {
    this.#levels.pop();
    this.#expected = this.#levels.length > 0 ? "comma" : "end";
  }

  #put(value: JsonValue): void {
    const level = this.#levels.at(-1);
    this.#expected = level ? "comma" : "end";
    if (!level) this.#root = value;
    else if (Array.isArray(level.value)) level.value.push(value);
    else setProperty(level.value, level.key, value);
  }
}

function setProperty(object: JsonObject, key: string, value: JsonValue): void {
  // Assigned, "__proto__" would replace the prototype.
  if (key !== "__proto__") object[key] = value;
  else Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
}

function parseScalar(token: Token): JsonValue {
  try {
    return JSON.parse(token.text);
  } catch (cause) {
    throw unexpected(token, cause);
  }
}

function unexpected(token: Token, cause?: unknown): SyntaxError {
  const { text, position } = token;
  const shown = text.length > 30 ? `${text.slice(0, 30)}...` : text;
  return new SyntaxError(
    `Cannot parse JSONC: unexpected token "${shown}" in JSONC at position ${position}`,
    cause === undefined ? {} : { cause },
  );
}
