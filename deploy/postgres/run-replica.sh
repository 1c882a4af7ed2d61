#!/usr/bin/env bash
# The replica's entry point: copies the primary when there is no data yet, then becomes the server.
# A copy that was cut off is begun anew, as it is made beside the data and gets its name at the end.
set -euo pipefail

: "${PGDATA:?}" "${PRIMARY_HOST:?}" "${REPLICATION_SLOT:?}"
copy="$PGDATA.copy"
passwords=/tmp/pgpass

# Made at each start from the secret, also for the server's own walreceiver, so that the password is
# in no file of the data.
umask 077
printf '%s:%s:*:replication:%s\n' "$PRIMARY_HOST" "${PRIMARY_PORT:-5432}" \
    "$(cat /run/secrets/postgres_replication_password)" > "$passwords"
export PGPASSFILE="$passwords"
primary="host=$PRIMARY_HOST port=${PRIMARY_PORT:-5432} user=replication"
primary+=" application_name=$REPLICATION_SLOT passfile=$passwords"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    until pg_isready -q -h "$PRIMARY_HOST" -p "${PRIMARY_PORT:-5432}"; do
        echo "waiting for the primary at $PRIMARY_HOST"
        sleep 2
    done
    # The slot may be there from a copy that was cut off, or from a replica that this one replaces.
    create=(--create-slot)
    if psql -X -A -t "$primary dbname=postgres replication=true" \
        -c "READ_REPLICATION_SLOT $REPLICATION_SLOT" | grep -q '^physical'; then
        create=()
    fi
    rm -rf "$copy"
    pg_basebackup --dbname "$primary" --pgdata "$copy" --write-recovery-conf \
        --wal-method stream --checkpoint fast "${create[@]}" --slot "$REPLICATION_SLOT"
    # What has no PG_VERSION is no database.
    rm -rf "${PGDATA:?}"
    mv "$copy" "$PGDATA"
fi

exec postgres -D "$PGDATA" "$@"
