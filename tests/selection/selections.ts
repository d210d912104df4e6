/** What 60 selections leave of one repository of 400 tags, and what each filter drops; read by eye, row by row. */

import type { TagSelection } from "../../src/mirror/rules/selection.ts";

/** A selection, the tags that come out in their order, and how many each filter dropped. */
export const SELECTIONS: readonly (readonly [TagSelection, string, string])[] = [
  [{ "include": ["latest"] }, "latest", "signature 4, include 397"],
  [{ "include": ["1?"] }, "13 14 15 16 17", "signature 4, include 393"],
  [{ "include": ["1[67]"] }, "16 17", "signature 4, include 396"],
  [{ "include": ["1[!3-6]"] }, "13 14 15 16", "signature 4, include 394"],
  [{ "include": ["{lts,current,stable}"] }, "current lts stable", "signature 4, include 395"],
  [{ "include": ["{lts,stable}*"] }, "lts lts-alpine stable", "signature 4, include 395"],
  [
    { "include": ["*perl"] },
    "1.26-perl 1.26.0-perl 1.26.1-perl 1.26.2-perl 1.26.3-perl 1.26.4-perl 1.27-perl " +
    "1.27.0-perl 1.27.1-perl 1.27.2-perl 1.27.3-perl 1.27.4-perl 1.27perl 1.28-perl " +
    "1.28.0-perl 1.28.1-perl 1.28.2-perl 1.28.3-perl 1.28.4-perl mainline-perl perl",
    "signature 4, include 377",
  ],
  [
    { "include": ["1.27.*"], "exclude": ["*-*"] },
    "1.27.0 1.27.1 1.27.2 1.27.3 1.27.4",
    "signature 4, include 373, exclude 20",
  ],
  [
    { "include": ["/^1\\.27/"], "exclude": ["/-/"] },
    "1.27 1.27.0 1.27.1 1.27.2 1.27.3 1.27.4 1.27perl",
    "signature 4, include 367, exclude 24",
  ],
  [{ "include": ["/(?i)LTS/"] }, "lts lts-alpine", "signature 4, include 396"],
  [{ "include": ["17*"], "exclude": ["17.*", "*-*"] }, "17", "signature 4, include 362, exclude 35"],
  [
    { "include": ["v22.*"], "exclude": ["*-slim", "*-alpine*"] },
    "v22.0.0 v22.0.1 v22.1.0 v22.1.1 v22.10.0 v22.10.1 v22.11.0-pre.1 v22.9.0 v22.9.1",
    "signature 4, include 365, exclude 24",
  ],
  [{ "include": ["18*"] }, "18beta1 18beta2 18beta2-bookworm 18rc1 18rc1-alpine", "signature 4, include 393"],
  [{ "include": ["18*"], "exclude": ["*rc*", "*beta*"] }, "", "signature 4, include 393, exclude 5"],
  [
    { "include": ["v23*"], "exclude": ["*nightly*"] },
    "v23.0.0-rc.1 v23.0.0-rc.2",
    "signature 4, include 395, exclude 1",
  ],
  [{ "include": ["main*", "edge"] }, "edge main-3f2a9c1 mainline mainline-perl", "signature 4, include 394"],
  [
    { "include": ["*-otel"], "exclude": ["/^1\\.2[67]/"] },
    "1.28-alpine-otel 1.28-otel 1.28.0-alpine-otel 1.28.0-otel 1.28.1-alpine-otel " +
    "1.28.1-otel 1.28.2-alpine-otel 1.28.2-otel 1.28.3-alpine-otel 1.28.3-otel " +
    "1.28.4-alpine-otel 1.28.4-otel",
    "signature 4, include 362, exclude 24",
  ],
  [{ "include": ["2026*"] }, "2026-11-01 20261101", "signature 4, include 396"],
  [{ "include": ["nothing-*"] }, "", "signature 4, include 398"],
  [
    { "exclude": ["*[0-9]*"] },
    "alpine bookworm current edge iron jod latest lts lts-alpine mainline mainline-perl " +
    "nightly perl slim stable trixie",
    "signature 4, exclude 382",
  ],
  [
    { "exclude": ["*.*", "1*", "v*", "2*"] },
    "alpine bookworm current edge iron jod latest lts lts-alpine main-3f2a9c1 mainline " +
    "mainline-perl nightly perl slim stable trixie",
    "signature 4, exclude 381",
  ],
  [{ "semver": "17" }, "17 17.0 17.1 17.2 17.3 17.4 17.5 17.6 17.7", "signature 4, semver 389"],
  [{ "semver": "17.x" }, "17 17.0 17.1 17.2 17.3 17.4 17.5 17.6 17.7", "signature 4, semver 389"],
  [{ "semver": "^17.5" }, "17.5 17.6 17.7", "signature 4, semver 395"],
  [{ "semver": "~17.5" }, "17.5", "signature 4, semver 397"],
  [{ "semver": ">=17.6 <18" }, "17.6 17.7", "signature 4, semver 396"],
  [{ "semver": "16.6 - 17.1" }, "16.6 16.7 17 17.0 17.1", "signature 4, semver 393"],
  [
    { "semver": "<14 >=13.6 || >17.6" },
    "13.6 13.7 17.7 20261101 v18.0.0 v18.0.1 v18.1.0 v18.1.1 v18.10.0 v18.10.1 v18.9.0 " +
    "v18.9.1 v20.0.0 v20.0.1 v20.1.0 v20.1.1 v20.10.0 v20.10.1 v20.9.0 v20.9.1 v22.0.0 " +
    "v22.0.1 v22.1.0 v22.1.1 v22.10.0 v22.10.1 v22.9.0 v22.9.1",
    "signature 4, semver 370",
  ],
  [
    { "semver": "18" },
    "v18.0.0 v18.0.1 v18.1.0 v18.1.1 v18.10.0 v18.10.1 v18.9.0 v18.9.1",
    "signature 4, semver 390",
  ],
  [
    { "semver": "18", "prereleases": true },
    "18beta1 18beta2 18rc1 v18.0.0 v18.0.1 v18.1.0 v18.1.1 v18.10.0 v18.10.1 v18.9.0 " + "v18.9.1",
    "signature 4, semver 387",
  ],
  [
    { "semver": ">=18.0.0-beta2" },
    "18beta2 18rc1 20261101 v18.0.0 v18.0.1 v18.1.0 v18.1.1 v18.10.0 v18.10.1 v18.9.0 " +
    "v18.9.1 v20.0.0 v20.0.1 v20.1.0 v20.1.1 v20.10.0 v20.10.1 v20.9.0 v20.9.1 v22.0.0 " +
    "v22.0.1 v22.1.0 v22.1.1 v22.10.0 v22.10.1 v22.9.0 v22.9.1",
    "signature 4, semver 371",
  ],
  [{ "semver": ">=18.0.0-beta2 <18.0.0", "variant": "alpine" }, "18rc1-alpine", "signature 4, semver 397"],
  [
    { "semver": "18", "prereleases": true, "variant": "*" },
    "18beta2-bookworm 18rc1-alpine v18.0.0-alpine3.20 v18.0.0-bookworm-slim v18.0.0-slim " +
    "v18.0.1-alpine3.20 v18.0.1-bookworm-slim v18.0.1-slim v18.1.0-alpine3.20 " +
    "v18.1.0-bookworm-slim v18.1.0-slim v18.1.1-alpine3.20 v18.1.1-bookworm-slim " +
    "v18.1.1-slim v18.10.0-alpine3.20 v18.10.0-bookworm-slim v18.10.0-slim " +
    "v18.10.1-alpine3.20 v18.10.1-bookworm-slim v18.10.1-slim v18.9.0-alpine3.20 " +
    "v18.9.0-bookworm-slim v18.9.0-slim v18.9.1-alpine3.20 v18.9.1-bookworm-slim " + "v18.9.1-slim",
    "signature 4, semver 372",
  ],
  [
    { "semver": "17", "variant": "alpine" },
    "17-alpine 17.0-alpine 17.1-alpine 17.2-alpine 17.3-alpine 17.4-alpine 17.5-alpine " +
    "17.6-alpine 17.7-alpine",
    "signature 4, semver 389",
  ],
  [{ "semver": "17.7", "variant": "alpine*" }, "17.7-alpine 17.7-alpine3.21", "signature 4, semver 396"],
  [
    { "semver": "17.7", "variant": "*" },
    "17.7-alpine 17.7-alpine3.21 17.7-bookworm",
    "signature 4, semver 395",
  ],
  [
    { "semver": "1.28", "variant": "perl" },
    "1.28-perl 1.28.0-perl 1.28.1-perl 1.28.2-perl 1.28.3-perl 1.28.4-perl",
    "signature 4, semver 392",
  ],
  [
    { "semver": "1.28.x", "variant": "alpine-slim" },
    "1.28-alpine-slim 1.28.0-alpine-slim 1.28.1-alpine-slim 1.28.2-alpine-slim " +
    "1.28.3-alpine-slim 1.28.4-alpine-slim",
    "signature 4, semver 392",
  ],
  [
    { "semver": "^22" },
    "v22.0.0 v22.0.1 v22.1.0 v22.1.1 v22.10.0 v22.10.1 v22.9.0 v22.9.1",
    "signature 4, semver 390",
  ],
  [
    { "semver": "^22", "prereleases": true },
    "v22.0.0 v22.0.1 v22.1.0 v22.1.1 v22.10.0 v22.10.1 v22.11.0-pre.1 v22.9.0 v22.9.1",
    "signature 4, semver 389",
  ],
  [{ "semver": "^23.0.0-rc.1" }, "v23.0.0-rc.1 v23.0.0-rc.2", "signature 4, semver 396"],
  [{ "semver": "*", "newest": 3 }, "20261101 v22.10.1 v22.10.0", "signature 4, semver 309, newest 86"],
  [
    { "semver": "*", "newest": 5, "exclude": ["v*"] },
    "20261101 17.7 17.6 17.5 17.4",
    "signature 4, exclude 100, semver 233, newest 60",
  ],
  [
    { "semver": "*", "newest": 5, "exclude": ["v*", "20*"] },
    "17.7 17.6 17.5 17.4 17.3",
    "signature 4, exclude 102, semver 232, newest 59",
  ],
  [
    { "semver": "<1000", "newest": 5 },
    "v22.10.1 v22.10.0 v22.9.1 v22.9.0 v22.1.1",
    "signature 4, semver 310, newest 83",
  ],
  [{ "semver": "^1", "newest": 4 }, "1.28.4 1.28.3 1.28.2 1.28.1", "signature 4, semver 379, newest 15"],
  [
    { "semver": "^1", "variant": "otel", "newest": 2 },
    "1.28.4-otel 1.28.3-otel",
    "signature 4, semver 380, newest 16",
  ],
  [
    { "semver": "<1000", "variant": "alpine3.20", "newest": 3 },
    "v22.10.1-alpine3.20 v22.10.0-alpine3.20 v22.9.1-alpine3.20",
    "signature 4, semver 374, newest 21",
  ],
  [
    { "semver": "<1000", "variant": "alpine3.21", "newest": 3 },
    "17.7-alpine3.21 17.6-alpine3.21 17.5-alpine3.21",
    "signature 4, semver 353, newest 42",
  ],
  [{ "newest": 2, "by": "version" }, "20261101 v22.10.1", "signature 4, semver 309, newest 87"],
  [
    { "newest": 3, "by": "name" },
    "v23.0.0-rc.2 v23.0.0-rc.1 v23.0.0-nightly20260901",
    "signature 4, newest 395",
  ],
  [
    { "newest": 3, "by": "name", "include": ["v*"] },
    "v23.0.0-rc.2 v23.0.0-rc.1 v23.0.0-nightly20260901",
    "signature 4, include 298, newest 97",
  ],
  [
    { "newest": 3, "by": "created", "include": ["v*"] },
    "v23.0.0-rc.2 v23.0.0-rc.1 v23.0.0-nightly20260901",
    "signature 4, include 298, newest 97",
  ],
  [
    { "newest": 2, "by": "created", "include": ["1[67]*"], "exclude": ["*.?-*"] },
    "17-bookworm 17-alpine3.21",
    "signature 4, include 326, exclude 48, newest 22",
  ],
  [
    { "newest": 2, "by": "created", "include": ["17", "17.7", "17.6"] },
    "17 17.7 17.6",
    "signature 4, include 395",
  ],
  [
    { "newest": 1, "by": "created", "include": ["nightly", "latest"] },
    "latest",
    "signature 4, include 396, newest 1",
  ],
  [
    { "newest": 5, "by": "created", "include": ["nightly", "latest"] },
    "latest nightly",
    "signature 4, include 396",
  ],
  [
    { "within": "4d" },
    "nightly v22.9.1-slim v23.0.0-nightly20260901 v23.0.0-rc.1 v23.0.0-rc.2",
    "signature 4, within 393",
  ],
  [
    { "within": "1w", "include": ["v*"] },
    "v22.9.1 v22.9.1-alpine3.20 v22.9.1-bookworm-slim v22.9.1-slim v23.0.0-nightly20260901 " +
    "v23.0.0-rc.1 v23.0.0-rc.2",
    "signature 4, include 298, within 93",
  ],
  [{ "within": "1h", "include": ["v*", "nightly"] }, "nightly", "signature 4, include 297, within 100"],
  [
    { "within": "90d", "semver": "^22" },
    "v22.0.0 v22.0.1 v22.1.0 v22.1.1 v22.10.0 v22.10.1 v22.9.0 v22.9.1",
    "signature 4, semver 390",
  ],
  [{ "within": "1y", "semver": "^17", "newest": 2 }, "17.7 17.6", "signature 4, semver 389, newest 7"],
  [
    { "within": "200d", "semver": "<1000", "newest": 3 },
    "v22.10.1 v22.10.0 v22.9.1",
    "signature 4, semver 310, within 46, newest 39",
  ],
  [
    { "include": ["17*"], "semver": "17", "exclude": ["17"], "newest": 1 },
    "17.7",
    "signature 4, include 362, exclude 1, semver 27, newest 7",
  ],
];
