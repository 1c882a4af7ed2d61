#!/usr/bin/env bash
# What the official image's entry point does when it is run as its user: makes the data of
# POSTGRES_PASSWORD_FILE, POSTGRES_USER, POSTGRES_DB and POSTGRES_INITDB_ARGS, runs the scripts of
# /docker-entrypoint-initdb.d on a server that only the socket reaches, and becomes the command.
set -euo pipefail

if [ "${1:-}" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=${POSTGRES_USER:-postgres}
    umask 077
    mkdir -p "$PGDATA"
    # Split into words, as the official one does.
    # shellcheck disable=SC2086
    initdb --pgdata "$PGDATA" --username "$user" --pwfile "${POSTGRES_PASSWORD_FILE:?}" \
        ${POSTGRES_INITDB_ARGS:-}
    printf '\nhost all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -o "$(printf '%q ' "${@:2}" -c listen_addresses= -p "${PGPORT:-5432}")" \
        -w start
    if [ "${POSTGRES_DB:-$user}" != postgres ]; then
        createdb --username "$user" --no-password "${POSTGRES_DB:-$user}"
    fi
    for script in "${INITDB_SCRIPTS:-/docker-entrypoint-initdb.d}"/*.sh; do
        [ -e "$script" ] || continue
        if [ -x "$script" ]; then "$script"; else . "$script"; fi
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@"
