#!/usr/bin/env bash
# Runs repmgrd beside a database server, for automatic failover (docker-compose.storage-automatic.yml), and tells it
# anew what that server is whenever that changes: also after `qoectl db failover` and `qoectl db rejoin`, which
# know nothing of repmgr.
#
#   run-repmgrd.sh            as a service
#   run-repmgrd.sh status     how all three stand
#   run-repmgrd.sh promote    called by repmgrd of the replica when it and the witness miss the primary
set -euo pipefail

: "${SERVER_NAME:?}" "${PRIMARY_HOST:?}" "${REPLICA_HOST:?}" "${WITNESS_HOST:?}"
certificates=${CERTIFICATES:-/etc/postgresql/certs}
scratch=${SCRATCH:-/tmp}
settings="$scratch/repmgr.conf"
watch_seconds=5
# So long repmgrd may need to note a change that it made itself.
settle_seconds=10
# A primary that shuts down still sends its log; one that froze is given up after wal_receiver_timeout.
receiving_seconds=60
# A replica that was further behind when it last heard the primary, or heard it longer ago, waits for a person: the
# limits of `qoectl db failover`.
behind_bytes=$((64 << 20))
silent_seconds=3600
contact="$scratch/contact"
export LC_ALL=C.UTF-8 PGPASSFILE="$scratch/repmgr-pgpass" PGSSLROOTCERT="$certificates/ca.pem"

connection() { # of a server by its name
    local host port
    case "$1" in
        postgres-primary) host=$PRIMARY_HOST port=${PRIMARY_PORT:-5432} ;;
        postgres-replica) host=$REPLICA_HOST port=${REPLICA_PORT:-5432} ;;
        postgres-witness) host=$WITNESS_HOST port=${WITNESS_PORT:-5432} ;;
        *) printf 'run-repmgrd.sh: SERVER_NAME is %s\n' "$1" >&2; return 1 ;;
    esac
    # TLS to its own server too; the password is in PGPASSFILE.
    printf 'host=%s port=%s user=repmgr dbname=repmgr connect_timeout=2 sslmode=verify-full' "$host" "$port"
}
ask() { # a server, then statements for psql
    local name=$1
    shift
    timeout 10 psql -X -A -t -q -v ON_ERROR_STOP=1 "$(connection "$name")" "$@"
}

said=
say() { # A line that is not said twice in a row.
    [ "$said" != "$*" ] || return 0
    said=$*
    printf 'run-repmgrd.sh: %s\n' "$*" >&2
}

# What a standby follows, whichever of these knows it first.
timeline="CASE WHEN pg_is_in_recovery()
    THEN greatest((SELECT timeline_id FROM pg_control_checkpoint()),
        (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
        (SELECT received_tli FROM pg_stat_wal_receiver),
        (SELECT max(('x' || left(name, 8))::bit(32)::bigint) FROM pg_ls_waldir()
            WHERE name LIKE '%.history'))
    ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END"

claim() { # a timeline; fails when the witness is away, or the timeline or a later one is another's
    local owner
    owner=$(printf '%s\n' "INSERT INTO claim (timeline, server) VALUES (:'timeline', :'name') ON CONFLICT DO NOTHING;" \
        'SELECT server FROM claim ORDER BY timeline DESC LIMIT 1;' \
        | ask postgres-witness -v "timeline=$1" -v "name=$SERVER_NAME") || return 1
    [ "$owner" = "$SERVER_NAME" ] || {
        say "timeline $1 is taken at the witness by $owner"
        return 1
    }
}

# What a promotion cannot ask a lost primary any more: seconds since 1970, bytes behind.
note_contact() {
    local line
    line=$(ask "$SERVER_NAME" -F ' ' -c "SELECT extract(epoch FROM now())::bigint,
        greatest(0, pg_wal_lsn_diff(latest_end_lsn, flushed_lsn))::bigint
        FROM pg_stat_wal_receiver WHERE status = 'streaming'" 2> /dev/null) || return 0
    [ -n "$line" ] || return 0
    echo "$line" > "$contact.new"
    mv "$contact.new" "$contact"
}

promote() {
    local own waited=0 other heard behind
    read -r heard behind < "$contact" || { say "not promoted: it has not received the log since this started"; return 1; }
    heard=$(($(date +%s) - heard))
    if [ "$heard" -gt "$silent_seconds" ] || [ "$behind" -gt "$behind_bytes" ]; then
        say "not promoted: it heard the primary $heard s ago and was $behind bytes behind; qoectl db failover decides"
        return 1
    fi
    if [ "$SERVER_NAME" = postgres-replica ]; then other=postgres_primary; else other=postgres_replica; fi
    # As long as the log flows, the primary is there; all that it sends is kept.
    until [ "$(ask "$SERVER_NAME" -c "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'")" = 0 ]; do
        [ "$waited" -lt "$receiving_seconds" ] || { say "not promoted: the log still flows"; return 1; }
        say "waiting: the log still flows"
        waited=$((waited + 1))
        sleep 1
    done
    own=$(ask "$SERVER_NAME" -c "SELECT $timeline")
    # The rewind of the old primary finds all log since the two parted.
    ask "$SERVER_NAME" > /dev/null -c "SELECT pg_create_physical_replication_slot('$other', true)
        WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '$other')"
    claim $((own + 1)) || { say "not promoted: the witness did not give timeline $((own + 1))"; return 1; }
    say "promoting $SERVER_NAME to timeline $((own + 1))"
    repmgr -f "$settings" standby promote
    # Tells the control file the timeline, for a rewind to find it.
    ask "$SERVER_NAME" -c CHECKPOINT
}

case "${1:-}" in
    promote) promote; exit ;;
    status) exec repmgr -f "$settings" cluster show ;;
esac

case "$SERVER_NAME" in
    postgres-primary) number=1 ;;
    postgres-replica) number=2 ;;
    *) number=3 ;;
esac
(
    umask 077
    printf '*:*:*:repmgr:%s\n' "$(cat "${SECRETS:-/run/secrets}/postgres_repmgr_password")" > "$PGPASSFILE"
    # Reconnecting takes longer than a primary that is cut off serves (isolation_seconds of run.sh).
    cat > "$settings" << EOF
node_id=$number
node_name='$SERVER_NAME'
conninfo='$(connection "$SERVER_NAME")'
data_directory='${PGDATA:-/var/lib/postgresql/data/pgdata}'
failover=automatic
promote_command='$0 promote'
follow_command='true'
monitor_interval_secs=2
reconnect_attempts=4
reconnect_interval=4
primary_visibility_consensus=true
repmgrd_standby_startup_timeout=30
log_level=${REPMGR_LOG_LEVEL:-INFO}
EOF
)

# primary or standby; of a witness the name of the primary. Fails while that cannot be told.
role() {
    local name
    if [ "$SERVER_NAME" != postgres-witness ]; then
        ask "$SERVER_NAME" -c "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END"
        return
    fi
    ask "$SERVER_NAME" -c 'SELECT' || return
    for name in postgres-primary postgres-replica; do
        if [ "$(ask "$name" -c 'SELECT pg_is_in_recovery()')" = f ]; then
            echo "$name"
            return
        fi
    done
    return 1
}

register() { # as a role
    case "$1" in
        primary)
            # Who is left behind stops by it, also when a person promoted this one.
            # A rewind of the other one finds the timeline in the control file, where a checkpoint puts it.
            ask "$SERVER_NAME" -c CHECKPOINT
            claim "$(ask "$SERVER_NAME" -c "SELECT $timeline")" || say "the witness has not taken the claim"
            ask "$SERVER_NAME" -c "UPDATE repmgr.nodes SET active = false
                WHERE type = 'primary' AND node_id <> $number"
            repmgr -f "$settings" primary register --force ;;
        standby) repmgr -f "$settings" standby register --force ;;
        *)
            # shellcheck disable=SC2046
            repmgr -f "$settings" witness register --force -d "$(connection "$1")" ;;
    esac
}

daemon=
pause=
is_stopping=
stop() {
    is_stopping=1
    [ -z "$pause" ] || kill "$pause" 2> /dev/null || true
}
trap stop INT TERM
rest() { # seconds; a signal ends it
    sleep "$1" &
    pause=$!
    wait "$pause" || true
    pause=
}
end_daemon() {
    [ -n "$daemon" ] || return 0
    kill "$daemon" 2> /dev/null || true
    wait "$daemon" || true
    daemon=
}

registered=
while [ -z "$is_stopping" ]; do
    if [ -n "$daemon" ] && ! kill -0 "$daemon" 2> /dev/null; then
        end_daemon
        say "repmgrd ended"
        registered=
    fi
    if [ "$registered" = standby ]; then note_contact; fi
    if current=$(role 2> "$scratch/role-error") && [ "$current" != "$registered" ]; then
        [ -z "$registered" ] || rest "$settle_seconds"
        [ -z "$is_stopping" ] || break
        end_daemon
        if register "$current" > "$scratch/register" 2>&1; then
            say "$SERVER_NAME is registered: $current"
            registered=$current
            repmgrd -f "$settings" --daemonize=false --no-pid-file &
            daemon=$!
        else
            say "not registered as $current yet: $(tr '\n' ' ' < "$scratch/register")"
            registered=
        fi
    fi
    rest "$watch_seconds"
done
end_daemon
