# syntax=docker/dockerfile:1
# The relay: a sidecar that holds an agent's session and renews it. From the root of the repository:
#
#   docker build --file deploy/docker/relay.Dockerfile --tag sortie-relay .
#
# It listens on the loopback, and so belongs into the agent's own network: a pod, or `network_mode: service:AGENT`.
# SORTIE_API_KEY_FILE names the file with the agent's key, SORTIE_API_URL and SORTIE_PROXY where control and the gateway
# are; arguments go to `sortie relay`. With `--folder=/run/sortie` a volume there has what the agent reads.

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
    && install --directory --owner=sortie --group=sortie --mode=0700 /var/lib/sortie \
    && install --directory --owner=sortie --group=sortie --mode=0755 /run/sortie
COPY --from=build /out/sortie /usr/local/bin/
COPY deploy/docker/ready /usr/local/bin/ready
ENV HOME=/var/lib/sortie
ARG VERSION=unreleased
LABEL org.opencontainers.image.title="Sortie relay" \
      org.opencontainers.image.description="Holds and renews the session of an agent behind Sortie" \
      org.opencontainers.image.source="https://github.com/sortie-dev/sortie" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["/usr/local/bin/ready", "--open", "7381"]
ENTRYPOINT ["/usr/local/bin/sortie", "relay"]
