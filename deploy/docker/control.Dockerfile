# syntax=docker/dockerfile:1
# The control plane, and the `sortie` command to administer it with. From the root of the repository:
#
#   docker build --file deploy/docker/control.Dockerfile --tag sortie-control .
#
# It needs a PostgreSQL: SORTIE_CONTROL__DATABASE_URL_FILE names a file with its address. The volume holds root.key,
# without which nothing in the database can be opened, and operator.key.

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
    && install --directory --owner=sortie --group=sortie --mode=0700 /var/lib/sortie /var/lib/sortie/control
COPY --from=build /out/sortie-control /out/sortie /usr/local/bin/
COPY deploy/docker/ready /usr/local/bin/ready
# The API has no TLS of its own: what is published of port 7300 goes behind something that has.
ENV SORTIE_CONTROL__DATA_DIR=/var/lib/sortie/control \
    SORTIE_CONTROL__API__LISTEN=0.0.0.0:7300 \
    SORTIE_CONTROL__FEED__LISTEN=0.0.0.0:7301 \
    SORTIE_CONTROL__LOG__FORMAT=json \
    SORTIE_API_KEY_FILE=/var/lib/sortie/control/operator.key \
    HOME=/var/lib/sortie
ARG VERSION=unreleased
LABEL org.opencontainers.image.title="Sortie control" \
      org.opencontainers.image.description="The control plane of Sortie, a credential broker for AI agents" \
      org.opencontainers.image.source="https://github.com/sortie-dev/sortie" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
USER 10001:10001
VOLUME ["/var/lib/sortie/control"]
EXPOSE 7300 7301
# The first start makes the schema.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["/usr/local/bin/ready", "7302"]
ENTRYPOINT ["/usr/local/bin/sortie-control"]
