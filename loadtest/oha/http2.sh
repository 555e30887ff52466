#!/usr/bin/env bash
# Connections that stay, HTTP/2 with sixteen streams each. Run by `scripts/load oha http2`.
set -euo pipefail
exec "$OHA" --no-tui --no-pre-lookup -z "${OHA_SECONDS:-10}s" -c 4 -p 16 --http-version 2 --cacert "$SSL_CERT_FILE" \
    -x "http://$PROXY_ADDRESS" --proxy-header "Proxy-Authorization: $PROXY_AUTHORIZATION" "$@" "$TARGET_URL/"
