# syntax=docker/dockerfile:1
# The gateway: what agents reach as their proxy. From the root of the repository:
#
#   docker build --file deploy/docker/gateway.Dockerfile --tag sortie-gateway .
#
# A new node needs a join string: SORTIE_GATEWAY__JOIN_FILE names a file with one. The volume holds the node's identity
# and its journal: without it a node that starts again is a new one, and what it has not handed over is lost.

# Builds all three programs; every image has these lines first, so that they are built once.
FROM rust:1.95.0-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends clang cmake libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bins -p sortie-control -p sortie-gateway -p sortie-cli \
    && install -D --strip --target-directory=/out \
        target/release/sortie target/release/sortie-control target/release/sortie-gateway

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 sortie \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/sortie --no-create-home --shell /usr/sbin/nologin sortie \
    && install --directory --owner=sortie --group=sortie --mode=0700 /var/lib/sortie /var/lib/sortie/gateway
COPY --from=build /out/sortie-gateway /usr/local/bin/
COPY deploy/docker/ready /usr/local/bin/ready
ENV SORTIE_GATEWAY__DATA_DIR=/var/lib/sortie/gateway \
    SORTIE_GATEWAY__PROXY__LISTEN=0.0.0.0:7380 \
    SORTIE_GATEWAY__LOG__FORMAT=json
ARG VERSION=unreleased
LABEL org.opencontainers.image.title="Sortie gateway" \
      org.opencontainers.image.description="The data plane of Sortie, a credential broker for AI agents" \
      org.opencontainers.image.source="https://github.com/sortie-dev/sortie" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
USER 10001:10001
VOLUME ["/var/lib/sortie/gateway"]
EXPOSE 7380
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD ["/usr/local/bin/ready", "7381"]
ENTRYPOINT ["/usr/local/bin/sortie-gateway"]
