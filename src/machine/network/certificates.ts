/** Certificates beyond the runtime's own: of private authorities, and the client's own for registries that ask for one. */

import { SetupError } from "../../mirror/config/config.ts";

/** A certificate or its key cannot be used. */
export class CertificateError extends SetupError {
  /** Path of the file, or what else the certificate came from. */
  readonly source: string;

  /** Says which file cannot be used, and why. */
  constructor(source: string, why: string, options?: ErrorOptions) {
    super(`Cannot use certificate "${source}": ${why}`, options);
    this.name = "CertificateError";
    this.source = source;
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** What a registry is reached with. */
export interface Certificates {
  /** Authorities that are trusted besides the runtime's own, as PEM. */
  caCerts: string[];
  /** The client's own certificate, as PEM; never without `key`. */
  cert?: string;
  /** The key of `cert`, as PEM. */
  key?: string;
}

/** Options of {@linkcode loadCertificates}. */
export interface LoadCertificatesOptions {
  /** File of authorities. */
  caFile?: string | undefined;
  /** File of the client's certificate; goes with `keyFile`. */
  certFile?: string | undefined;
  /** File of the client's key. */
  keyFile?: string | undefined;
  /** Reads an environment variable: `SSL_CERT_FILE`, and `HOME` or `USERPROFILE`. */
  env: (name: string) => string | undefined;
  /** Reads a file, as `node:fs` does unless told. */
  readTextFile?: (path: string) => Promise<string>;
  /** The names in a directory, as `node:fs` lists them unless told. */
  readNames?: (path: string) => Promise<string[]>;
}

/**
 * Collects the certificates for a registry: the files named in `options`, `SSL_CERT_FILE`, and the directory of the
 * registry's name in `~/.config/containers/certs.d`, `~/.config/docker/certs.d`, `/etc/containers/certs.d` and
 * `/etc/docker/certs.d` (`*.crt` are authorities, `NAME.cert` with `NAME.key` is the client's own).
 *
 * All authorities are trusted; the client's certificate is the one named, else the first found. Directories that are not
 * there or may not be read are passed over, and so is an `SSL_CERT_FILE` that is not there.
 *
 * @param registry Registry host with an optional port.
 * @throws {CertificateError} naming the file that is missing, is not PEM, or has no counterpart.
 */
export async function loadCertificates(
  registry: string,
  options: LoadCertificatesOptions,
): Promise<Certificates> {
  const named = await loadNamed(options);
  const found = await Promise.all(
    directoriesOf(registry, options).map((path) => loadDirectory(path, options)),
  );
  const all = [named, ...found];
  const caCerts = [...new Set(all.flatMap((one) => one.caCerts))];
  const { cert, key } = all.find((one) => one.cert !== undefined) ?? {};
  return cert === undefined || key === undefined ? { caCerts } : { caCerts, cert, key };
}

async function loadNamed(options: LoadCertificatesOptions): Promise<Certificates> {
  const { caFile, certFile, keyFile, env } = options;
  const caCerts: string[] = [];
  if (caFile !== undefined) caCerts.push(await readAuthorities(caFile, options));
  const bundle = env("SSL_CERT_FILE") || undefined;
  if (bundle !== undefined) {
    const text = await readAuthorities(bundle, options).catch((error) => absent(error));
    if (text !== undefined) caCerts.push(text);
  }
  if (certFile === undefined && keyFile === undefined) return { caCerts };
  if (keyFile === undefined) throw new CertificateError(certFile ?? "", "its key is not given (keyFile)");
  if (certFile === undefined) throw new CertificateError(keyFile, "its certificate is not given (certFile)");
  return { caCerts, ...await readPair(certFile, keyFile, options) };
}

function directoriesOf(registry: string, { env }: LoadCertificatesOptions): string[] {
  // The registry is a host; anything else must not lead to another directory.
  if (/[/\\]|\.\./.test(registry)) return [];
  const home = env("HOME") || env("USERPROFILE") || undefined;
  const roots = ["/etc/containers", "/etc/docker"];
  if (home !== undefined) roots.unshift(`${home}/.config/containers`, `${home}/.config/docker`);
  return roots.map((root) => `${root}/certs.d/${registry}`);
}

async function loadDirectory(path: string, options: LoadCertificatesOptions): Promise<Certificates> {
  const names = await listNames(path, options);
  const having = (ending: string) => names.filter((name) => name.endsWith(ending));
  const caCerts = await Promise.all(
    having(".crt").map((name) => readAuthorities(`${path}/${name}`, options)),
  );
  const stems = new Set([...having(".cert"), ...having(".key")].map((name) => name.replace(/\.\w+$/, "")));
  let pair: Partial<Certificates> = {};
  for (const stem of [...stems].sort().reverse()) {
    const [certFile, keyFile] = [`${path}/${stem}.cert`, `${path}/${stem}.key`];
    if (!names.includes(`${stem}.key`)) {
      throw new CertificateError(certFile, `there is no "${stem}.key" beside it`);
    }
    if (!names.includes(`${stem}.cert`)) {
      throw new CertificateError(keyFile, `there is no "${stem}.cert" beside it`);
    }
    pair = await readPair(certFile, keyFile, options);
  }
  return { caCerts, ...pair };
}

async function listNames(path: string, { readNames }: LoadCertificatesOptions): Promise<string[]> {
  try {
    return (await (readNames ?? (await import("node:fs/promises")).readdir)(path)).sort();
  } catch (error) {
    if (isMissing(error) || isDenied(error)) return [];
    throw new CertificateError(path, reasonOf(error), { cause: error });
  }
}

/** Lets a file be missing, or not be readable for want of a permission. */
function absent(error: unknown): undefined {
  const cause = error instanceof CertificateError ? error.cause : error;
  if (isMissing(cause) || hasName(cause, "NotCapable")) return undefined;
  throw error;
}

function isMissing(error: unknown): boolean {
  return hasCode(error, "ENOENT") || hasName(error, "NotFound");
}

/** Deno's own permissions have names and no codes. */
function isDenied(error: unknown): boolean {
  return ["EACCES", "EPERM"].some((code) => hasCode(error, code)) ||
    ["NotCapable", "PermissionDenied"].some((name) => hasName(error, name));
}

function hasCode(error: unknown, code: string): boolean {
  return (error as { code?: unknown } | undefined)?.code === code;
}

function hasName(error: unknown, name: string): boolean {
  return error instanceof Error && error.name === name;
}

async function readAuthorities(path: string, options: LoadCertificatesOptions): Promise<string> {
  const text = certificatesIn(await read(path, options), path);
  const { X509Certificate } = await import("node:crypto");
  try {
    // The runtime would refuse it when a connection is made, without the file's name.
    for (const block of text.match(CERTIFICATE) ?? []) new X509Certificate(block);
  } catch (cause) {
    throw new CertificateError(path, `it is refused (${reasonOf(cause)})`, { cause });
  }
  return text;
}

async function readPair(
  certFile: string,
  keyFile: string,
  options: LoadCertificatesOptions,
): Promise<{ cert: string; key: string }> {
  const cert = certificatesIn(await read(certFile, options), certFile);
  const key = await read(keyFile, options);
  if (/^-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m.test(key)) {
    throw new CertificateError(keyFile, "the key is encrypted; give it without a passphrase");
  }
  if (!/^-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/m.test(key)) {
    throw new CertificateError(keyFile, "there is no private key in it (PEM)");
  }
  const { createPrivateKey, X509Certificate } = await import("node:crypto");
  let isPair = false;
  try {
    isPair = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    // The runtime's message does not quote the key.
    throw new CertificateError(certFile, `it is refused with its key (${reasonOf(cause)})`, { cause });
  }
  if (!isPair) throw new CertificateError(certFile, "it is refused with its key (it is another's)");
  return { cert, key };
}

async function read(path: string, { readTextFile }: LoadCertificatesOptions): Promise<string> {
  try {
    if (readTextFile !== undefined) return await readTextFile(path);
    return await (await import("node:fs/promises")).readFile(path, "utf8");
  } catch (cause) {
    const why = isMissing(cause) ? "there is no such file" : reasonOf(cause);
    throw new CertificateError(path, why, { cause });
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error
    ? error.message.replace(/: (?:readfile|readdir|open|scandir) '.*'$|, (?:open|scandir) '.*'$/, "")
    : String(error);
}

/**
 * The certificates in a PEM text, without the comments that bundles have between them. The check is needed because runtimes
 * accept any text as an authority and find none in it.
 *
 * @throws {CertificateError} when there is none, or one is not base64.
 */
export function certificatesIn(text: string, source: string): string {
  const blocks = text.match(CERTIFICATE) ?? [];
  const begun = text.split("-----BEGIN CERTIFICATE-----").length - 1;
  if (begun === 0) throw new CertificateError(source, "there is no certificate in it (PEM)");
  if (blocks.length !== begun) throw new CertificateError(source, "a certificate in it has no end");
  for (const block of blocks) checkBase64(block, source);
  return blocks.join("\n") + "\n";
}

function checkBase64(block: string, source: string): void {
  const body = block.replace(/-----[A-Z ]+-----/g, "").replace(/\s+/g, "");
  try {
    if (body !== "" && atob(body) !== "") return;
  } catch {
    // It is refused below.
  }
  throw new CertificateError(source, "a certificate in it is not base64");
}
