/** What `--help` prints: one screen. */

/** The text of `--help`. */
export const HELP = `Copies container images between registries.
  image-syncer --config FILE [flags]            image-syncer SOURCE DESTINATION [flags]
  image-syncer auth check --config FILE         image-syncer serve --config FILE --schedule "0 * * * *"
  --config FILE                 "auth" and "images" as JSON or YAML; - is standard input
  --auth FILE --images FILE     the same in two files (default ./image-syncer.json)
  -p, --proc N                  blobs under way at once (5)
  -r, --retries N               passes over what failed (2)
  --os NAME, --arch NAME[:VAR]  only these platforms; may be given several times
  --registry HOST, --namespace  where empty destinations lead (DEFAULT_REGISTRY, DEFAULT_NAMESPACE)
  --dry-run                     prints what would be copied
  --force                       copies what the destination has already
  --strict                      fails when a rule selects no tag
  --verify                      hashes every blob here too, not only at the destination
  --records FILE, --store PLACE what was copied before (./records); file:, sqlite: or kv:PATH, kv
  --trust-records               does not ask a destination for what the records say it has
  --shard I/N                   does the I-th of N parts of the work
  --log FILE, --log-format F    where the log goes; text or json
  --report FILE                 writes what became of every image as JSON
  --reports DIR                 serve: keeps the reports of the last 30 runs, for the page to link to
  --output-success-images FILE, --output-images-format yaml|json
  --connect-timeout, --header-timeout, --commit-timeout, --stall-timeout SECONDS (10, 30, 300, 30)
  --schedule CRON, --port N     when and where "serve" works
  --minimum-rate BYTES a second that a registry must give (1024), --no-progress, --version, -h, --help
Exit codes: 0 done or unchanged, 1 something failed, 2 wrong config or usage, 130 interrupted`;
