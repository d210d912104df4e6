# syntax=docker/dockerfile:1
# The program with what it needs, for pods and for machines without Deno. The guide is src/deno/DEPLOY.md.
# A build that is to give the same bytes tomorrow names the digest too: --build-arg DENO=denoland/deno:2.9.6@sha256:…
ARG DENO=denoland/deno:2.9.6
FROM ${DENO}

# A pod's command may be a line of sh, so the program is on the path as on any machine.
COPY --chmod=755 <<'SH' /usr/local/bin/image-syncer
#!/bin/sh
exec deno run --cached-only --no-prompt --allow-net --allow-read --allow-write --allow-env /app/cli.ts "$@"
SH
# By number, because Kubernetes' runAsNonRoot cannot tell what a name stands for. It is the image's user "deno".
RUN mkdir /data && chown 1993:1993 /data
USER 1993:1993

WORKDIR /app
COPY deno.json deno.lock mod.ts cli.ts ./
COPY src src
# Everything is fetched now, and checked against the lock file: a container never downloads code.
RUN deno cache --frozen cli.ts src/deno/deploy.ts

WORKDIR /data
ENV DENO_NO_UPDATE_CHECK=1
ENTRYPOINT ["image-syncer"]
CMD ["--help"]
