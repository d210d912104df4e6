/** Step 2 of the walk, the wire: what went wrong below HTTP, in words. */

import { DigestError } from "../oci/descriptor.ts";
import { RedirectError, SlowBodyError, TimeLimitError } from "./fetch.ts";
import { printable } from "../oci/printable.ts";
import { AuthError, RegistryError } from "./registry_error.ts";
import type { RegistryRequest } from "./request.ts";
import type { Retry } from "./retry.ts";

/** An error and what caused it, innermost last; not for ever, for causes may go round. */
function causesOf(error: unknown): Error[] {
  const causes: Error[] = [];
  for (let cause = error; cause instanceof Error && causes.length < 8; cause = cause.cause) {
    causes.push(cause);
  }
  return causes;
}

/** The messages and codes of an error and its causes, innermost last. Runtimes hide the real reason at different depths. */
function messagesOf(error: unknown): string {
  const parts: string[] = [];
  for (const cause of causesOf(error)) {
    parts.push(cause.message);
    const code: unknown = (cause as { code?: unknown }).code;
    if (typeof code === "string") parts.push(code);
    if (cause instanceof AggregateError) {
      for (const inner of cause.errors.slice(0, 4)) parts.push(messagesOf(inner));
    }
  }
  return parts.join(" ");
}

const CERTIFICATE =
  /certificate|UnknownIssuer|NotValidForName|CERT_|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS_CERT/i;

function hasName(error: unknown, pattern: RegExp): boolean {
  return causesOf(error).some(({ name }) => pattern.test(name));
}

/** The machine's own word about a proxy, which is not the registry's failure. */
function proxyFailureIn(error: unknown): Error | undefined {
  return causesOf(error).find(({ name }) => name === "ProxyError");
}

/** Whether the runtime does not allow to reach a host (Deno: `--allow-net`). */
function isForbidden(error: unknown): boolean {
  return hasName(error, /^(?:NotCapable|PermissionDenied)$/) ||
    /Requires net access/i.test(messagesOf(error));
}

/** `fetch` reaches no ports that belong to other protocols (WHATWG Fetch, port blocking). */
const BLOCKED_PORT = /port \d+ (?:are|is) blocked|\bbad port\b/i;

const BROKEN_HTTP = /invalid HTTP|HPE_|UND_ERR_(?:HEADERS_OVERFLOW|RESPONSE)|head is too large/i;

const UNREACHABLE =
  /connection refused|ECONNREFUSED|ConnectionRefused|dns error|ENOTFOUND|EAI_AGAIN|failed to lookup|name resolution/i;

/** Whether nobody listens at a host, or nobody knows its name. */
export function isUnreachable(error: unknown): boolean {
  return UNREACHABLE.test(messagesOf(error));
}

/** What a request that was not answered means for another try. */
export function retryAfterFailure(cause: unknown): Retry {
  const text = messagesOf(cause);
  if (cause instanceof SlowBodyError) return "never";
  const isHopeless = CERTIFICATE.test(text) || isPlainAnswer(cause) || isForbidden(cause) ||
    BROKEN_HTTP.test(text) || BLOCKED_PORT.test(text) ||
    hasName(cause, /^HttpSyntaxError$/);
  if (isHopeless) return "never";
  return cause instanceof RedirectError ? "once" : "soon";
}

/** Whether a failure is the registry's certificate, which trying again does not mend. */
export function isCertificateFailure(error: unknown): boolean {
  return CERTIFICATE.test(messagesOf(error));
}

const WITHOUT_TLS = `it does not speak TLS; for a registry without it set "insecure": true in its auth entry`;

const MISSING_TLS = /corrupt message|InvalidContentType|wrong version number|HandshakeFailure|EPROTO/i;

/** Whether a failure is that the other side does not speak TLS at all. */
export function isMissingTls(error: unknown): boolean {
  return MISSING_TLS.test(messagesOf(error));
}

/** Whether the other side answered without TLS, which it will the next time too; a broken handshake may be a broken line. */
function isPlainAnswer(error: unknown): boolean {
  return /corrupt message|InvalidContentType|wrong version number/i.test(messagesOf(error));
}

const WORDS: readonly [RegExp, string][] = [
  [/connection refused|ECONNREFUSED|ConnectionRefused/i, "connection refused"],
  [/dns error|ENOTFOUND|EAI_AGAIN|failed to lookup|name resolution/i, "the host name cannot be resolved"],
  [/reset by peer|ECONNRESET|EPIPE|broken pipe/i, "the connection was reset"],
  [/unreachable|ENETUNREACH|EHOSTUNREACH/i, "the network cannot be reached"],
  [/timed out|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT/i, "the connection timed out"],
  [MISSING_TLS, WITHOUT_TLS],
  [BROKEN_HTTP, "it answered with something that is not HTTP"],
  [
    /closed before|early end|early eof|handshake eof|unexpected EOF|other side closed|error reading a body|UND_ERR_SOCKET|terminated/i,
    "the connection was closed too early",
  ],
];

/**
 * Why a fetch failed, in words a user can act on.
 *
 * @param error What fetch rejected with.
 * @param url Where it was going.
 */
export function describeFailure(error: unknown, url: URL): string {
  const ours = [TimeLimitError, SlowBodyError, RedirectError];
  if (error instanceof Error && ours.some((type) => error instanceof type)) return error.message;
  const proxyFailure = proxyFailureIn(error);
  if (proxyFailure !== undefined) return `${proxyFailure.message} (${url.host})`;
  const text = messagesOf(error);
  if (/CertificateRequired|certificate_required|certificate required/i.test(text)) {
    return `${url.host} wants a certificate of the client; give "certFile" and "keyFile" in the registry's auth entry`;
  }
  if (CERTIFICATE.test(text)) {
    return `the certificate of ${url.host} is not trusted (${certificateReason(text)}); ` +
      `give its authority as "caFile" in the registry's auth entry, or set "insecure": true to accept any`;
  }
  if (isForbidden(error)) return `this program is not allowed to reach it (--allow-net=${url.host})`;
  const found = WORDS.find(([pattern]) => pattern.test(text));
  if (found !== undefined) return `${found[1]} (${url.host})`;
  const innermost = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return `${printable(innermost instanceof Error ? innermost.message : String(innermost))} (${url.host})`;
}

function certificateReason(text: string): string {
  if (/UnknownIssuer|UNABLE_TO_VERIFY|SELF_SIGNED|CaUsedAsEndEntity/i.test(text)) return "unknown issuer";
  if (/NotValidForName|not valid for name|ERR_TLS_CERT_ALTNAME/i.test(text)) return "it is for another name";
  if (/expired/i.test(text)) return "it has expired";
  return "it was refused";
}

/**
 * What a request that was not answered fails with: its own error where that says enough, else a {@linkcode RegistryError}.
 *
 * @param url Where it was going, which a redirect may have changed.
 */
export function failureOf(
  { action, method }: Pick<RegistryRequest, "action" | "method">,
  url: URL,
  cause: unknown,
): unknown {
  if ([RegistryError, AuthError, DigestError].some((type) => cause instanceof type)) return cause;
  const described = describeFailure(cause, url);
  // A sentence that names the host already need not end with it.
  const why = action.includes(`"${url.host}"`) ? described.replace(` (${url.host})`, "") : described;
  return new RegistryError({
    action,
    method,
    url: `${url.origin}${url.pathname}`,
    status: 0,
    why,
    retry: retryAfterFailure(cause),
    cause,
  });
}
