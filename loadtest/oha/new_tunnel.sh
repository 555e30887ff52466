#!/usr/bin/env bash
# A tunnel and a full handshake for each request. Run by `scripts/load oha new_tunnel`.
set -euo pipefail
exec "$OHA" --no-tui --no-pre-lookup -z "${OHA_SECONDS:-10}s" -c 8 --http-version 1.1 --disable-keepalive --cacert "$SSL_CERT_FILE" \
    -x "http://$PROXY_ADDRESS" --proxy-header "Proxy-Authorization: $PROXY_AUTHORIZATION" "$@" "$TARGET_URL/"
