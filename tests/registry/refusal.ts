/** How the test registry says no: an error that becomes the error answer of the distribution-spec. */

/** Options of {@linkcode Refusal}. */
export interface RefusalOptions extends ErrorOptions {
  /** More headers of the answer. */
  headers?: Record<string, string>;
  /** The `detail` of the error. */
  detail?: unknown;
}

/** A request that cannot be granted (OCI distribution-spec 1.1, Error Codes). */
export class Refusal extends Error {
  /** Status of the answer. */
  readonly status: number;
  /** Code of the error, for example `MANIFEST_UNKNOWN`. */
  readonly code: string;
  readonly #headers: Record<string, string>;
  readonly #detail: unknown;

  /** Names what is wrong. */
  constructor(status: number, code: string, message: string, options: RefusalOptions = {}) {
    super(message, options);
    this.name = "Refusal";
    this.status = status;
    this.code = code;
    this.#headers = options.headers ?? {};
    this.#detail = options.detail;
  }

  /** The answer; without its body for a HEAD request. */
  toResponse(method = "GET"): Response {
    const { code, message } = this;
    const detail = this.#detail === undefined ? {} : { detail: this.#detail };
    const body = new TextEncoder().encode(JSON.stringify({ errors: [{ code, message, ...detail }] }));
    const headers = {
      "content-type": "application/json",
      "content-length": `${body.length}`,
      ...this.#headers,
    };
    return new Response(method === "HEAD" ? null : body, { status: this.status, headers });
  }
}
