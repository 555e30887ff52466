#!/bin/bash
# What a cluster of deploy/compose.yaml needs before its first start: a password of the database, a certificate for it,
# and the folder of the gateway, each for the one who uses it. What is there stays.
#
#   setup.sh DATABASE_FOLDER CONTROL_FOLDER GATEWAY_FOLDER HOST
#
# HOST is what control dials. Needs openssl; runs as root, so that files can belong to others.
set -euo pipefail
umask 077

database=$1 control=$2 gateway=$3 host=$4
# The users of the images.
database_user=${DATABASE_USER:-999:999} sortie_user=${SORTIE_USER:-10001:10001}

if [[ ! -s $database/server.crt ]]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 3650 -subj "/CN=$host" \
        -addext "subjectAltName=DNS:$host" -addext "basicConstraints=critical,CA:FALSE" \
        -addext "extendedKeyUsage=serverAuth" -keyout "$database/server.key" -out "$database/server.crt.new"
    mv "$database/server.crt.new" "$database/server.crt"
fi
if [[ ! -s $database/password ]]; then
    # Letters and digits: it stands in a URL.
    openssl rand -hex 32 >"$database/password.new"
    mv "$database/password.new" "$database/password"
fi
cp "$database/server.crt" "$control/database-ca.crt"
printf 'postgresql://sortie:%s@%s:%s/sortie\n' "$(<"$database/password")" "$host" "${DATABASE_PORT:-5432}" \
    >"$control/database-url"
if ((EUID == 0)); then
    chown -R "$database_user" "$database"
    chown -R "$sortie_user" "$control" "$gateway"
fi
chmod 700 "$database" "$control" "$gateway"
