/** What a registry may be told about who is asking. */

/** One way to log in. Exactly one of the three forms is set; none at all means anonymous. */
export interface Credential {
  /** User name for Basic authentication or for the token service. */
  username?: string;
  /** Password or access token that goes with `username`. */
  password?: string;
  /** OAuth2 refresh token ("identity token" in Docker's config.json), exchanged at the token service. */
  identityToken?: string;
  /** Ready-made bearer token ("registrytoken" in Docker's config.json), sent as it is. */
  registryToken?: string;
  /** Where it was found, for messages; never part of what is sent. */
  origin?: string;
}

/**
 * Looks up the credential for one repository.
 *
 * @param registry Registry host with an optional port, `docker.io` for Docker Hub under any of its names.
 * @param repository Repository name in that registry, for example `library/nginx`.
 */
export type CredentialSource = (registry: string, repository: string) => Promise<Credential | undefined>;

/** Who asks with a credential, for messages: a user name in quotes and where it was found, or `anonymous`. */
export function accountOf(credential: Credential | undefined): string {
  if (credential === undefined) return "anonymous";
  const from = credential.origin === undefined ? "" : ` from ${credential.origin}`;
  if (credential.username !== undefined) return `user "${credential.username}"${from}`;
  if (credential.identityToken !== undefined) return `the holder of an identity token${from}`;
  return credential.registryToken === undefined ? "anonymous" : `the holder of a registry token${from}`;
}
