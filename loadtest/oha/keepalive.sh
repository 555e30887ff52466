#!/usr/bin/env bash
# Connections that stay, HTTP/1.1. Run by `scripts/load oha keepalive`.
set -euo pipefail
exec "$OHA" --no-tui --no-pre-lookup -z "${OHA_SECONDS:-10}s" -c 32 --http-version 1.1 --cacert "$SSL_CERT_FILE" \
    -x "http://$PROXY_ADDRESS" --proxy-header "Proxy-Authorization: $PROXY_AUTHORIZATION" "$@" "$TARGET_URL/"
