# The images of compose.yaml: the worker (the last stage, so the default), the gateway
# simulator, and a nats-server that can tell its health.
#
#   docker build -t entrust-worker .
#   docker build --build-arg VERSION=v1.2.3 --build-arg REVISION=$(git rev-parse HEAD) -t entrust-worker:v1.2.3 .
#
# The worker's image has its licence, the licences of what it links and, where ./release made one
# before, its SBOM in /usr/share/doc/entrust-worker.
#
# RUN is in its exec form and nothing here needs BuildKit, so that any builder will do, and
# any builder image that has Go and certificates.

FROM golang:1.26.8-bookworm AS build
ARG VERSION=
ARG REVISION=
ENV CGO_ENABLED=0 GOTOOLCHAIN=local \
    GOFLAGS="-trimpath -buildvcs=false '-ldflags=-s -w -X main.release=${VERSION} -X main.revision=${REVISION}'"
# An empty folder, to be copied as the mount point of a volume: a named volume takes its
# owner from there.
WORKDIR /empty
WORKDIR /src
COPY go.work go.work.sum go.mod go.sum ./
COPY bench/go.mod bench/go.sum bench/
COPY entrustbus/go.mod entrustbus/go.sum entrustbus/
RUN ["go", "mod", "download"]
COPY . .
RUN ["go", "build", "-o", "/out/", "./cmd/entrust-worker", "./cmd/entrust-sandbox", "./deploy/healthcheck"]

FROM nats:2.15.2-scratch AS nats
LABEL org.opencontainers.image.title="nats-server for trials of entrust-worker" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/healthcheck /
COPY --from=build --chown=65532:65532 /empty /data
USER 65532:65532
HEALTHCHECK --interval=2s --timeout=3s --start-period=30s CMD ["/healthcheck", "http://127.0.0.1:8222/healthz"]
CMD ["--jetstream", "--store_dir", "/data", "--http_port", "8222"]

FROM scratch AS simulator
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="Gateway simulator of entrust-worker" \
      org.opencontainers.image.description="A simulator of the Entrust CA Gateway, for trials only" \
      org.opencontainers.image.source="https://github.com/entrust-worker/entrust-worker" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/entrust-sandbox /out/healthcheck /
COPY --from=build --chown=65532:65532 /empty /keys
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=2s --timeout=3s --start-period=10s CMD ["/healthcheck", "http://127.0.0.1:8444/healthz"]
ENTRYPOINT ["/entrust-sandbox"]
CMD ["gateway", "--data", "/keys", "--listen", "0.0.0.0:8443", "--admin", "0.0.0.0:8444"]

FROM scratch AS worker
ARG VERSION=
ARG REVISION=
LABEL org.opencontainers.image.title="entrust-worker" \
      org.opencontainers.image.description="Issues and revokes certificates through the Entrust CA Gateway for a NATS JetStream bus" \
      org.opencontainers.image.source="https://github.com/entrust-worker/entrust-worker" \
      org.opencontainers.image.documentation="https://github.com/entrust-worker/entrust-worker/blob/main/docs/operations.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The pattern matches no file where no SBOM was made.
COPY LICENSE docs/licences.md dist/entrust-worker.cdx.jso[n] /usr/share/doc/entrust-worker/
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/entrust-worker /out/healthcheck /
USER 65532:65532
EXPOSE 9464
STOPSIGNAL SIGTERM
# NATS, streams and key pair, not the gateway: its outage is no reason to replace a worker.
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s CMD ["/healthcheck", "http://127.0.0.1:9464/readyz"]
ENTRYPOINT ["/entrust-worker"]
CMD ["run"]
