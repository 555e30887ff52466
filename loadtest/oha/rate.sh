#!/usr/bin/env bash
# A fixed rate, with what waits counted in (no coordinated omission). Run by `scripts/load oha rate`.
set -euo pipefail
exec "$OHA" --no-tui --no-pre-lookup -z "${OHA_SECONDS:-10}s" -c 64 -q "${OHA_RATE:-500}" --latency-correction --http-version 1.1 \
    --cacert "$SSL_CERT_FILE" -x "http://$PROXY_ADDRESS" \
    --proxy-header "Proxy-Authorization: $PROXY_AUTHORIZATION" "$@" "$TARGET_URL/"
