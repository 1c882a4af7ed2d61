internal import Deployment

/// The scripts that run on the database's machines, for one of the two services.
///
/// A container is found by the labels that compose gives it, and SQL goes over its own socket as `postgres`, so
/// neither a password nor the compose files are needed. What deploy/postgres/run.sh keeps beside the data is read
/// and written on the machine.
struct ServerScripts {
    let service: String
    let other: String

    /// How the other one is called in the list of replication slots; as in run.sh.
    var slot: String { other.split(separator: "-").joined(separator: "_") }

    /// Sets `id`, `data` and `status`; ends with `container=absent` when there is none.
    private var find: String {
        """
        set -u
        ids=$(docker ps -aq --no-trunc --filter label=com.docker.compose.project=qoe-storage \
            --filter label=com.docker.compose.service=\(shellQuoted(service))) || exit 3
        id=$(printf '%s\\n' "$ids" | head -n 1)
        if [ -z "$id" ]; then echo container=absent; exit 0; fi
        status=$(docker inspect --format '{{.State.Status}}' "$id") || exit 3
        data=$(docker inspect --format '{{range .Mounts}}{{if eq .Destination "/var/lib/postgresql/data"}}{{.Source}}{{end}}{{end}}' "$id")
        pgdata=/var/lib/postgresql/data/pgdata
        tool() {
            if [ "$status" = running ]; then timeout 300 docker exec "$id" "$@"; return; fi
            program=$1
            shift
            timeout 300 docker run --rm --network none --user 999:999 --volumes-from "$id" \\
                --entrypoint "$program" "$(docker inspect --format '{{.Image}}' "$id")" "$@"
        }
        sql() { timeout 310 docker exec -i "$id" timeout 300 psql -X -q -A -t -v ON_ERROR_STOP=1 -U postgres -d postgres; }

        """
    }

    /// Prints what ``ServerSight/init(name:report:)`` reads.
    var look: String {
        find + """
            echo "container=$status"
            echo "now=$(date +%s)"
            if [ -e "$data/pgdata/standby.signal" ]; then echo data=replica
            elif [ -s "$data/pgdata/PG_VERSION" ]; then echo data=primary
            else echo data=none
            fi
            [ ! -s "$data/pgdata.fenced" ] || echo "fenced=$(cat "$data/pgdata.fenced")"
            [ ! -s "$data/pgdata.streamed" ] || echo "streamed=$(cat "$data/pgdata.streamed")"
            [ "$status" = running ] || exit 0
            if answer=$(timeout 15 docker exec -i "$id" timeout 10 psql -X -q -A -t -v ON_ERROR_STOP=1 \\
                -U postgres -d postgres 2>&1 << 'SQL'
            \(Self.question(other: other))
            SQL
            ); then printf '%s\\n' "$answer"
            elif [ -z "$answer" ]; then echo "silence=no answer within 10 s"
            else printf 'silence=%s\\n' "$(printf '%s' "$answer" | tr '\\n' ' ')"
            fi

            """
    }

    /// The control file lags behind promotions: the timeline of a primary is that of the log that it writes, of a
    /// replica that of the newest history file, as it follows the latest.
    private static func question(other: String) -> String {
        """
        SET statement_timeout = '8s';
        SELECT 'recovery=' || pg_is_in_recovery();
        SELECT 'system=' || system_identifier FROM pg_control_system();
        SELECT 'timeline=' || CASE WHEN pg_is_in_recovery()
            THEN greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
                (SELECT received_tli FROM pg_stat_wal_receiver),
                (SELECT max(('x' || left(name, 8))::bit(32)::bigint) FROM pg_ls_waldir()
                    WHERE name LIKE '%.history'))
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END;
        SELECT 'end=' || CASE WHEN pg_is_in_recovery()
            THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
            ELSE pg_current_wal_flush_lsn() END;
        SELECT 'commit_age=' || extract(epoch FROM now() - pg_last_xact_replay_timestamp())::bigint
        WHERE pg_is_in_recovery() AND pg_last_xact_replay_timestamp() IS NOT NULL;
        SELECT 'receiver=' || status FROM pg_stat_wal_receiver;
        SELECT 'sending=' || state FROM pg_stat_replication
        WHERE application_name = '\(other)' AND state IN ('streaming', 'catchup') LIMIT 1;
        SELECT 'sending_lag=' || (extract(epoch FROM flush_lag) * 1000)::bigint
        FROM pg_stat_replication
        WHERE application_name = '\(other)' AND flush_lag IS NOT NULL LIMIT 1;
        """
    }

    /// Prints what the log of a server that does not answer has after `end`: `last`, `last_bytes`, `commits`,
    /// `first_commit`, `last_commit`, and `checkpoint`, before which its log may be gone.
    func missing(after end: LogPosition) -> String {
        find + """
            [ -s "$data/pgdata/PG_VERSION" ] || exit 4
            control=$(tool pg_controldata -D "$pgdata") || exit 5
            value() { printf '%s\\n' "$control" | sed -n "s/^$1: *//p"; }
            echo "checkpoint=$(value 'Latest checkpoint location')"
            tool pg_waldump -p "$pgdata/pg_wal" -s \(end) \\
                -t "$(value "Latest checkpoint's TimeLineID")" 2> /dev/null | awk '
                match($0, /lsn: [0-9A-F\\/]+/) {
                    last = substr($0, RSTART + 5, RLENGTH - 5)
                    match($0, /[0-9]+, tx:/)
                    bytes = substr($0, RSTART, RLENGTH - 5)
                }
                /rmgr: Transaction .* desc: COMMIT / {
                    sub(/.* desc: COMMIT /, ""); sub(/;.*/, "")
                    if (!commits++) first = $0
                    latest = $0
                }
                END {
                    if (last != "") { print "last=" last; print "last_bytes=" bytes }
                    print "commits=" commits + 0
                    if (commits) { print "first_commit=" first; print "last_commit=" latest }
                }'

            """
    }

    /// Makes sure that the server does not run, and would not start as a primary of a timeline below `timeline`.
    func fence(timeline: UInt32, stopSeconds: Int) -> String {
        find + """
            if [ -d "$data" ]; then
                # A full disk must not keep it running.
                if echo \(timeline) > "$data/pgdata.fenced"; then
                    chown --reference="$data" "$data/pgdata.fenced"
                    sync -f "$data/pgdata.fenced"
                else
                    echo unmarked
                fi
            fi
            docker stop -t \(stopSeconds) "$id" > /dev/null
            status=$(docker inspect --format '{{.State.Status}}' "$id") || exit 3
            if [ "$status" = running ]; then echo "it does not stop" >&2; exit 5; fi

            """
    }

    /// Takes ``fence(timeline:stopSeconds:)`` back.
    var unfence: String {
        find + """
            rm -f "$data/pgdata.fenced" && docker start "$id" > /dev/null

            """
    }

    /// Keeps the log for the other one from here on.
    var keepLog: String {
        find + """
            sql << 'SQL'
            SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
            WHERE slot_name = '\(slot)' AND NOT active AND coalesce(wal_status, 'lost') = 'lost';
            SELECT pg_create_physical_replication_slot('\(slot)', true)
            WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '\(slot)');
            SQL

            """
    }

    /// Returns when it is promoted, or still under way after a minute. With automatic failover repmgrd may have been
    /// quicker.
    var promote: String {
        find + "echo 'SELECT pg_promote(true, 60) WHERE pg_is_in_recovery();' | sql\n"
    }

    /// Proves that it can write. The checkpoint tells its control file the timeline, for a rewind to find it.
    var write: String {
        find + """
            sql << 'SQL'
            SELECT pg_current_xact_id();
            CHECKPOINT;
            SQL

            """
    }

    var start: String { find + "docker start \"$id\" > /dev/null\n" }

    /// Asks run.sh to make the data a replica's.
    var remake: String {
        find + """
            touch "$data/pgdata.rejoin" || exit 4
            chown --reference="$data" "$data/pgdata.rejoin"
            docker restart -t 120 "$id" > /dev/null

            """
    }

    /// What run.sh said lately, and the errors.
    var words: String {
        find + """
            docker logs --since "$(docker inspect --format '{{.State.StartedAt}}' "$id")" "$id" 2>&1 | grep -E '^run.sh: |^pg_rewind: |^pg_basebackup: ' | tail -n 5

            """
    }
}

extension MissingLog {
    /// Reads what ``ServerScripts/missing(after:)`` printed; nil when it cannot be told.
    init?(report: String, after end: LogPosition) {
        var values: [Substring: Substring] = [:]
        for line in report.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        guard let commits = values["commits"].flatMap({ Int($0) }),
            let checkpoint = values["checkpoint"].flatMap({ LogPosition($0) })
        else { return nil }
        // Log that is gone was before the checkpoint.
        var bytes = checkpoint.distance(from: end)
        if let last = values["last"].flatMap({ LogPosition($0) }),
            let length = values["last_bytes"].flatMap({ UInt32($0) })
        {
            let (sum, overflow) = last.distance(from: end)
                .addingReportingOverflow(UInt64(length))
            guard !overflow else { return nil }
            bytes = max(bytes, sum)
        }
        self.init(
            bytes: bytes, commitCount: commits,
            firstCommit: values["first_commit"].map(String.init),
            lastCommit: values["last_commit"].map(String.init))
    }
}
