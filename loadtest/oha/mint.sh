#!/usr/bin/env bash
# Sessions minted over REST, one a call. Run by `scripts/load oha mint`.
set -euo pipefail
exec "$OHA" --no-tui -z "${OHA_SECONDS:-10}s" -c 16 -m POST -H "Authorization: Bearer $SORTIE_API_KEY" \
    -T application/json -d '{"agent": "agent", "vaults": ["main"], "ttl_seconds": 600}' "$@" \
    "$SORTIE_API_URL/v1/tenants/-/sessions"
