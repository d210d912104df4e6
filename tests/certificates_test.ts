/** Where certificates come from, and what is wrong with them. */

import { assertEquals, assertRejects } from "@std/assert";
import {
  CertificateError,
  loadCertificates,
  type LoadCertificatesOptions,
} from "../src/machine/network/certificates.ts";
import { pem } from "./tls_servers.ts";

const CA = pem("ca.pem");
const SERVER = pem("server.pem");
const CLIENT = { cert: pem("client.pem"), key: pem("client.key") };
const NOTHING = Object.assign(new Error("nothing there"), { code: "ENOENT" });

/** The certificates for `reg.test:5000` on a machine that has these files and no others. */
function load(
  files: Record<string, string | Error>,
  options: Partial<LoadCertificatesOptions> & { variables?: Record<string, string> } = {},
) {
  return loadCertificates("reg.test:5000", {
    env: (name) => ({ HOME: "/home/someone", ...options.variables })[name],
    readTextFile: (path) => {
      const file = files[path] ?? NOTHING;
      return file instanceof Error ? Promise.reject(file) : Promise.resolve(file);
    },
    readNames: (path) => {
      const failure = files[path];
      if (failure instanceof Error) return Promise.reject(failure);
      const inside = Object.keys(files).filter((file) => file.startsWith(`${path}/`));
      if (inside.length === 0) return Promise.reject(NOTHING);
      return Promise.resolve(inside.map((file) => file.slice(path.length + 1)));
    },
    ...options,
  });
}

Deno.test("loadCertificates() finds nothing where there is nothing", async () => {
  assertEquals(await load({}), { caCerts: [] });
});

Deno.test("loadCertificates() reads the files it is told to, and SSL_CERT_FILE", async () => {
  const files = {
    "/ca": `A comment\n${CA}`,
    "/bundle": `# One\n${CA}# Two\n${SERVER}`,
    "/c": CLIENT.cert,
    "/k": CLIENT.key,
  };
  assertEquals(await load(files, { caFile: "/ca", certFile: "/c", keyFile: "/k" }), {
    caCerts: [CA],
    ...CLIENT,
  });
  assertEquals(await load(files, { variables: { SSL_CERT_FILE: "/bundle" } }), { caCerts: [CA + SERVER] });
  assertEquals(await load(files, { variables: { SSL_CERT_FILE: "/gone" } }), { caCerts: [] });
});

Deno.test("loadCertificates() reads the registry's directories, the user's client certificate first", async () => {
  const files = {
    "/etc/docker/certs.d/reg.test:5000/ca.crt": CA,
    "/etc/docker/certs.d/reg.test:5000/client.cert": SERVER,
    "/etc/docker/certs.d/reg.test:5000/client.key": pem("server.key"),
    "/etc/containers/certs.d/reg.test:5000/a.crt": CA,
    "/etc/containers/certs.d/reg.test:5000/b.crt": SERVER,
    "/home/someone/.config/containers/certs.d/reg.test:5000/me.cert": CLIENT.cert,
    "/home/someone/.config/containers/certs.d/reg.test:5000/me.key": CLIENT.key,
    "/etc/docker/certs.d/reg.test/ca.crt": "of another registry",
  };
  assertEquals(await load(files), { caCerts: [CA, SERVER], ...CLIENT });
  const named = { cert: SERVER, key: pem("server.key") };
  const more = { ...files, "/c": named.cert, "/k": named.key };
  assertEquals(await load(more, { certFile: "/c", keyFile: "/k" }), { caCerts: [CA, SERVER], ...named });
});

Deno.test("loadCertificates() passes over directories that may not be read", async () => {
  const denied = {
    "/etc/docker/certs.d/reg.test:5000": new Deno.errors.NotCapable("Requires read access"),
    "/etc/containers/certs.d/reg.test:5000": new Deno.errors.PermissionDenied("permission denied"),
  };
  assertEquals(await load({ ...denied, "/ca": CA }, { caFile: "/ca" }), { caCerts: [CA] });
});

Deno.test("loadCertificates() looks into no directory for what is not a host", async () => {
  const read = (path: string) => {
    throw new Error(`Unexpected read of ${path}`);
  };
  const options = { env: () => undefined, readTextFile: read, readNames: read };
  for (const registry of ["../../root", "a/b", ".."]) {
    assertEquals(await loadCertificates(registry, options), { caCerts: [] });
  }
});

Deno.test("loadCertificates() names the file that cannot be used", async () => {
  const pemOf = (text: string) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
  const encrypted = CLIENT.key.replaceAll("PRIVATE", "ENCRYPTED PRIVATE");
  const directory = "/etc/docker/certs.d/reg.test:5000";
  const pair = { certFile: "/c", keyFile: "/k" };
  const cases: [Parameters<typeof load>[0], Parameters<typeof load>[1], string][] = [
    [{}, { caFile: "/ca" }, '"/ca": there is no such file'],
    [{ "/ca": "rubbish" }, { caFile: "/ca" }, '"/ca": there is no certificate in it (PEM)'],
    [{ "/ca": CLIENT.key }, { caFile: "/ca" }, '"/ca": there is no certificate in it (PEM)'],
    [{ "/ca": CA + pemOf("!!!") }, { caFile: "/ca" }, '"/ca": a certificate in it is not base64'],
    [{ "/ca": pemOf("") }, { caFile: "/ca" }, '"/ca": a certificate in it is not base64'],
    [{ "/ca": CA.slice(0, 200) }, { caFile: "/ca" }, '"/ca": a certificate in it has no end'],
    [{ "/ca": pemOf(btoa("rubbish")) }, { caFile: "/ca" }, '"/ca": it is refused ('],
    [{ "/b": "x" }, { variables: { SSL_CERT_FILE: "/b" } }, '"/b": there is no certificate in it (PEM)'],
    [{ [`${directory}/ca.crt`]: "x" }, {}, `"${directory}/ca.crt": there is no certificate in it (PEM)`],
    [{ [`${directory}/me.cert`]: CLIENT.cert }, {}, `"${directory}/me.cert": there is no "me.key" beside it`],
    [{ [`${directory}/me.key`]: CLIENT.key }, {}, `"${directory}/me.key": there is no "me.cert" beside it`],
    [{ "/c": CLIENT.cert }, { certFile: "/c" }, '"/c": its key is not given (keyFile)'],
    [{ "/k": CLIENT.key }, { keyFile: "/k" }, '"/k": its certificate is not given (certFile)'],
    [{ "/c": CLIENT.cert, "/k": "x" }, pair, '"/k": there is no private key in it (PEM)'],
    [
      { "/c": CLIENT.cert, "/k": encrypted },
      pair,
      '"/k": the key is encrypted; give it without a passphrase',
    ],
    [{ "/c": CLIENT.cert, "/k": pem("server.key") }, pair, '"/c": it is refused with its key ('],
  ];
  for (const [files, options, why] of cases) {
    await assertRejects(() => load(files, options), CertificateError, `Cannot use certificate ${why}`);
  }
});
