#!/usr/bin/env bash
# The entry point of both database servers. Their roles change places at a failover, so what a server is,
# its data say: with standby.signal it follows its peer, without it is a primary. With no data at all, the
# first role counts: the primary makes them and the replica copies them.
#
# A primary that was left behind by a failover never serves: before it starts and while it runs, it asks its
# peer, and stops when that is a primary of a newer timeline. It then waits for `qoectl db rejoin`.
#
# With WITNESS_HOST failover is automatic (docker-compose.storage-automatic.yml): a primary then serves only while
# its peer or the witness answers, and stops when the witness knows of a newer timeline.
#
# Beside the data (the folder PGDATA) are, each as long as it means something:
#   .new        the data are being made; what was cut off is made anew
#   .copy       a copy of the peer that is not complete
#   .fenced     the timeline of a newer primary: a primary of a lower one does not start, whoever answers
#   .rejoin     become the peer's replica, by pg_rewind or by a fresh copy
#   .rewinding  pg_rewind has begun: data that only it or a fresh copy can make whole
#   .streamed   a replica's last contact: seconds since 1970, the primary's end of log, its own
set -euo pipefail

: "${PGDATA:?}" "${SERVER_NAME:?}" "${FIRST_ROLE:?}" "${PEER_HOST:?}" "${PEER_PORT:?}"
certificates=${CERTIFICATES:-/etc/postgresql/certs}
scratch=${SCRATCH:-/tmp}
slot=${SERVER_NAME//-/_}
# How often a primary asks its peer, and how long a server that starts gets to say what it is.
watch_seconds=5
patience_seconds=60
# With a witness: a primary that neither it nor the peer has answered for so long stops. The replica asks for
# longer before it takes over (run-repmgrd.sh); a round of questions takes 6 s at most.
isolation_seconds=10
witness_host=${WITNESS_HOST:-} witness_port=${WITNESS_PORT:-5432}
export LC_ALL=C.UTF-8

# Made at each start from the secret, also for the server's own walreceiver, so that the password is
# in no file of the data.
export PGPASSFILE="$scratch/pgpass"
(
    umask 077
    printf '%s:%s:*:replication:%s\n' "$PEER_HOST" "$PEER_PORT" \
        "$(cat "${SECRETS:-/run/secrets}/postgres_replication_password")" \
        > "$PGPASSFILE"
    [ -z "$witness_host" ] || printf '%s:%s:repmgr:repmgr:%s\n' "$witness_host" "$witness_port" \
        "$(cat "${SECRETS:-/run/secrets}/postgres_repmgr_password")" \
        >> "$PGPASSFILE"
)
peer="host=$PEER_HOST port=$PEER_PORT user=replication application_name=$SERVER_NAME"
safely="passfile=$PGPASSFILE connect_timeout=3 sslmode=verify-full sslrootcert=$certificates/ca.pem"
peer+=" $safely"
witness="host=$witness_host port=$witness_port user=repmgr dbname=repmgr $safely"
# repmgrd keeps what it knows in the server's memory.
[ -z "$witness_host" ] || set -- "$@" -c shared_preload_libraries=repmgr

said=
say() { # A line that is not said twice in a row.
    [ "$said" != "$*" ] || return 0
    said=$*
    printf 'run.sh: %s\n' "$*"
}

server=
errand=
is_stopping=
stop() {
    is_stopping=1
    [ -z "$errand" ] || kill -TERM "$errand" || true
    [ -n "$server" ] || exit 0
    end_server
}
trap stop INT TERM
# Again and again until it ends: a server that has just been forked does not hear a SIGINT yet.
end_server() {
    # While the data are made, there is only a script, which a SIGINT does not reach.
    if [ -e "$PGDATA.new" ]; then kill -TERM "$server"; else kill -INT "$server"; fi || true
}

errand() { # Runs what takes long so that a signal ends it.
    local status=0
    "$@" &
    errand=$!
    wait "$errand" || status=$?
    errand=
    return "$status"
}
pause() { errand sleep "$watch_seconds" || true; }

# What the peer is: primary, standby, starting (which may be either) or away.
peer_role=away peer_timeline=0 peer_system='' peer_error=''
ask_peer() {
    local answer in_hot_standby
    peer_role=away
    if answer=$(timeout 6 psql -X -A -t -q -F ' ' "$peer replication=true" \
        -c 'SHOW in_hot_standby' -c IDENTIFY_SYSTEM 2> "$scratch/peer-error"); then
        { read -r in_hot_standby; read -r peer_system peer_timeline _; } <<< "$answer"
        if [ "$in_hot_standby" = off ]; then peer_role=primary; else peer_role=standby; fi
        return
    fi
    peer_error=$(tr '\n' ' ' < "$scratch/peer-error")
    case "$peer_error" in
        *"starting up"* | *"shutting down"* | *"recovery mode"* | *"not yet accepting"*)
            peer_role=starting ;;
    esac
}

# Asks peer and witness; fails when there is a witness and neither answers. `claimed`: the highest timeline that
# somebody took at the witness.
claimed=0
look_around() {
    local question status=0
    if [ -z "$witness_host" ]; then
        ask_peer
        return 0
    fi
    timeout 6 psql -X -A -t -q "$witness" -c 'SELECT coalesce(max(timeline), 0) FROM claim' \
        > "$scratch/claimed" 2> "$scratch/witness-error" &
    question=$!
    ask_peer
    wait "$question" || status=$?
    if [ "$status" -eq 0 ]; then claimed=$(cat "$scratch/claimed"); fi
    [ "$status" -eq 0 ] || [ "$peer_role" != away ]
}

own_system() { pg_controldata -D "$PGDATA" | sed -n 's/^Database system identifier: *//p'; }

# After a promotion the control file learns of the timeline with the next checkpoint only; its history
# file is there before.
own_timeline() {
    local highest file
    highest=$(pg_controldata -D "$PGDATA" | sed -n "s/^Latest checkpoint's TimeLineID: *//p")
    for file in "$PGDATA"/pg_wal/*.history; do
        [ -e "$file" ] || continue
        file=${file##*/}
        file=$((16#${file%.history}))
        if [ "$file" -gt "$highest" ]; then highest=$file; fi
    done
    echo "$highest"
}

has_data() { [ -s "$PGDATA/PG_VERSION" ]; }
is_standby() { [ -e "$PGDATA/standby.signal" ]; }

# Whether the peer is the one to follow, after the answer of ask_peer; if so, $PGDATA.fenced remembers.
is_left_behind() {
    local own
    own=$(own_timeline)
    [ "$peer_role" = primary ] || return 1
    if [ "$peer_timeline" -gt "$own" ]; then
        echo "$peer_timeline" > "$PGDATA.fenced"
    elif [ "$peer_timeline" -lt "$own" ]; then
        return 1
    elif [ "$peer_system" != "$(own_system)" ]; then
        say "$PEER_HOST is a primary of another database: one of the two is here by mistake"
        return 1
    fi
}

# Whether the witness knows of a newer timeline; if so, $PGDATA.fenced remembers.
is_outvoted() {
    [ "$claimed" -gt "$(own_timeline)" ] || return 1
    echo "$claimed" > "$PGDATA.fenced"
}

# Returns when these data may serve as a primary, or are to become a replica.
wait_until_allowed() {
    local own fenced is_alone patience=$patience_seconds
    until [ -e "$PGDATA.rejoin" ]; do
        own=$(own_timeline)
        fenced=$(cat "$PGDATA.fenced" 2> /dev/null || true)
        if [ "${fenced:-0}" -gt "$own" ]; then
            say "NOT STARTED: these data are of timeline $own, and a primary of timeline $fenced" \
                "took over; 'qoectl db rejoin' makes this server its replica"
            pause
            continue
        fi
        is_alone=
        look_around || is_alone=1
        if is_outvoted; then
            continue
        elif [ -n "$is_alone" ]; then
            say "NOT STARTED: neither $PEER_HOST nor the witness $witness_host answers, and a replica that they" \
                "made the primary meanwhile could not be seen: $peer_error $(cat "$scratch/witness-error")"
            pause
            continue
        elif is_left_behind; then
            [ "$peer_timeline" -gt "$own" ] || say "NOT STARTED: $PEER_HOST is a primary of the same" \
                "timeline $own and serves already; 'qoectl db rejoin' makes this server its replica"
            pause
            continue
        elif [ "$peer_role" = starting ] && [ "$patience" -gt 0 ]; then
            say "waiting for $PEER_HOST, which is starting, to say what it is"
            patience=$((patience - watch_seconds))
            pause
            continue
        fi
        [ "$peer_role" != away ] || say "$PEER_HOST:$PEER_PORT does not answer, starting without" \
            "having asked it: $peer_error"
        return
    done
}

wait_for_primary() {
    ask_peer
    until [ "$peer_role" = primary ]; do
        say "waiting for the primary: $PEER_HOST:$PEER_PORT is $peer_role ${peer_error:+($peer_error)}"
        pause
        ask_peer
    done
}

command_of_peer() { timeout 60 psql -X -A -t -q "$peer replication=true" -c "$1"; }

copy() {
    local used free
    wait_for_primary
    rm -rf "$PGDATA.copy"
    if has_data; then
        # Kept until the copy is complete, if there is room for both.
        used=$(du -sk "$PGDATA" | cut -f 1)
        free=$(df -Pk "$PGDATA" | awk 'NR == 2 { print $4 }')
        if [ "$free" -lt $((used + used / 5)) ]; then
            say "no room for two copies: removing the old data first"
            rm -rf "${PGDATA:?}"
        fi
    fi
    say "copying $PEER_HOST"
    # It may be there from a copy that was cut off, and may have lost its log.
    command_of_peer "DROP_REPLICATION_SLOT $slot WAIT" 2> /dev/null || true
    # Under a name of its own: a copy is no replica yet.
    errand pg_basebackup --dbname "$peer application_name=$SERVER_NAME-copy" --pgdata "$PGDATA.copy" --wal-method stream \
        --checkpoint fast --create-slot --slot "$slot"
    touch "$PGDATA.copy/standby.signal"
    if [ -e "$PGDATA" ]; then mv "$PGDATA" "$PGDATA.old"; fi
    mv "$PGDATA.copy" "$PGDATA"
    rm -rf "$PGDATA.old"
    say "copied $PEER_HOST"
}

# In a container the numbers of processes begin anew, and one of this script may have that of a server that was
# killed: PostgreSQL and pg_rewind would take it for that server.
forget_killed_server() {
    local number
    number=$(head -n 1 "$PGDATA/postmaster.pid" 2> /dev/null) || return 0
    [ -e "/proc/$number" ] || return 0
    if [ "$(cat "/proc/$number/comm" 2> /dev/null)" != postgres ]; then rm -f "$PGDATA/postmaster.pid"; fi
}

# Fails when only a fresh copy helps: it was cut off before, or the logs do not reach back far enough.
rewind() {
    local config=() argument
    for argument in "$@"; do
        case "$argument" in config_file=*) config=(--config-file "${argument#*=}") ;; esac
    done
    [ ! -e "$PGDATA.rewinding" ] || return 1
    touch "$PGDATA.rewinding"
    sync -f "$PGDATA.rewinding"
    errand pg_rewind --target-pgdata "$PGDATA" --source-server "$peer dbname=postgres" \
        ${config[@]+"${config[@]}"} || return 1
    # A replica has none; those of the time as a primary would keep log for ever.
    rm -rf "$PGDATA"/pg_replslot/*
    touch "$PGDATA/standby.signal"
    rm -f "$PGDATA.rewinding"
    say "rewound to $PEER_HOST"
}

become_replica() {
    wait_for_primary
    # A replica that is asked to rejoin has lost its place in the primary's log.
    if ! has_data || is_standby || [ "$peer_system" != "$(own_system)" ] || ! rewind "$@"; then
        copy
        rm -f "$PGDATA.rewinding"
    fi
    rm -f "$PGDATA.rejoin" "$PGDATA.fenced"
}

# What a failover cannot ask a lost primary any more.
note_contact() {
    local line
    line=$(timeout 6 psql -X -A -t -q -F ' ' -U postgres -d postgres -c "
        SELECT extract(epoch FROM now())::bigint, latest_end_lsn, flushed_lsn
        FROM pg_stat_wal_receiver WHERE status = 'streaming'" 2> /dev/null) || return 0
    [ -n "$line" ] || return 0
    echo "$line" > "$PGDATA.streamed.new"
    mv "$PGDATA.streamed.new" "$PGDATA.streamed"
}

# Runs a server until it ends; one that was left behind meanwhile is ended, and 0 returned.
serve() {
    local status=0 pace=$watch_seconds seen=$SECONDS reason
    "$@" &
    server=$!
    while kill -0 "$server" 2> /dev/null; do
        sleep "$pace" &
        # Also when a signal comes.
        wait -n "$server" "$!" || true
        kill -0 "$server" 2> /dev/null || break
        if [ -n "$is_stopping" ]; then
            end_server
            pace=1
        elif [ -e "$PGDATA.new" ]; then
            seen=$SECONDS
        elif is_standby; then
            note_contact
            seen=$SECONDS
        else
            reason='' pace=$watch_seconds
            if look_around; then seen=$SECONDS; else pace=1; fi
            if is_left_behind && [ "$peer_timeline" -gt "$(own_timeline)" ]; then
                reason="$PEER_HOST is a primary of timeline $peer_timeline and this one of timeline $(own_timeline)"
            elif is_outvoted; then
                reason="the witness knows of timeline $claimed and this one is of timeline $(own_timeline)"
            elif [ $((SECONDS - seen)) -ge "$isolation_seconds" ]; then
                reason="neither $PEER_HOST nor the witness $witness_host has answered for $((SECONDS - seen)) s"
            fi
            if [ -n "$reason" ]; then
                say "STOPPING: $reason"
                kill -INT "$server" || true
                while kill -0 "$server" 2> /dev/null; do wait "$server" || true; done
                server=
                [ -z "$is_stopping" ] || exit 0
                return 0
            fi
        fi
    done
    wait "$server" || status=$?
    exit "$status"
}

rm -rf "$PGDATA.old"
if [ -e "$PGDATA.new" ]; then rm -rf "${PGDATA:?}" "$PGDATA.new"; fi
while :; do
    forget_killed_server
    if [ -e "$PGDATA.rejoin" ]; then
        become_replica "$@"
    elif ! has_data; then
        ask_peer
        if [ "$FIRST_ROLE" = primary ] && [ "$peer_role" = standby ]; then
            say "NOT STARTED: there are no data here, and $PEER_HOST is a replica of a database:" \
                "'qoectl db failover' makes it the primary"
            pause
            continue
        elif [ "$FIRST_ROLE" = primary ] && [ "$peer_role" = starting ]; then
            say "there are no data here: waiting for $PEER_HOST, which is starting, to say what it is"
            pause
            continue
        elif [ "$FIRST_ROLE" = primary ] && [ "$peer_role" = away ]; then
            say "making a new database"
            mkdir -p "$(dirname "$PGDATA")"
            touch "$PGDATA.new"
            serve docker-entrypoint.sh postgres "$@"
            continue
        fi
        copy
    fi
    if is_standby; then
        say "starting as the replica of $PEER_HOST:$PEER_PORT"
        command_of_peer "CREATE_REPLICATION_SLOT $slot PHYSICAL RESERVE_WAL" > /dev/null 2>&1 || true
        serve postgres -D "$PGDATA" "$@" -c "primary_conninfo=$peer" -c "primary_slot_name=$slot"
    else
        wait_until_allowed
        [ ! -e "$PGDATA.rejoin" ] || continue
        say "starting as the primary, timeline $(own_timeline)"
        serve postgres -D "$PGDATA" "$@"
    fi
done
