/** A certificate for 127.0.0.1 by an authority that nobody else knows, made anew by `openssl`. */

/** A server's certificate and who vouches for it. */
export interface Certificate extends AsyncDisposable {
  /** The authority's certificate, as PEM. */
  readonly authority: string;
  /** Path of the authority's certificate. */
  readonly authorityFile: string;
  /** Path of the server's certificate. */
  readonly certFile: string;
  /** Path of the server's key. */
  readonly keyFile: string;
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];

/**
 * Makes an authority and a certificate signed by it.
 *
 * @throws {Error} with the words of `openssl` when it fails.
 */
export async function createCertificate(): Promise<Certificate> {
  const directory = await Deno.makeTempDir({ prefix: "certificate-" });
  const path = (name: string) => `${directory}/${name}`;
  await Deno.writeTextFile(
    path("names"),
    "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n",
  );
  const [authorityFile, authorityKey, request] = [path("ca.pem"), path("ca.key"), path("server.csr")];
  const [certFile, keyFile] = [path("server.pem"), path("server.key")];
  const subject = (name: string) => ["-subj", `/CN=${name}`];
  await openssl([
    "req",
    "-x509",
    ...KEY,
    ...subject("Test authority"),
    "-keyout",
    authorityKey,
    "-out",
    authorityFile,
  ]);
  await openssl(["req", "-new", ...KEY, ...subject("127.0.0.1"), "-keyout", keyFile, "-out", request]);
  const signer = ["-CA", authorityFile, "-CAkey", authorityKey, "-CAcreateserial", "-days", "2"];
  await openssl(["x509", "-req", "-in", request, ...signer, "-extfile", path("names"), "-out", certFile]);
  return {
    authority: await Deno.readTextFile(authorityFile),
    authorityFile,
    certFile,
    keyFile,
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

async function openssl(args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("openssl", { args, stdout: "null" }).output();
  if (!success) throw new Error(`Cannot run openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
}
