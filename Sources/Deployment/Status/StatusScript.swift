/// Asks a machine what of ours runs there, and the servers among it how they stand. Changes nothing.
///
/// A line each, its parts separated by tabs: `container`, `ready`, `postgres`, `lag`, `nats`.
struct StatusScript {
    static let text = """
        export LC_ALL=C
        say() { printf '%s\\t' "$@"; echo; }
        command -v docker > /dev/null || { say problem 'docker is not installed'; exit 0; }
        c=$(docker ps -aq --no-trunc --filter label=com.docker.compose.project 2>&1) \
            || { say problem "$(echo "$c" | tr '\\n\\t' '  ' | cut -c 1-300)"; exit 0; }
        [ -n "$c" ] || exit 0
        docker inspect --format '\(containerFormat)' $c | grep -v ^oneoff
        for s in \(programs); do
            c=$(docker ps -q --filter label=com.docker.compose.project="${s%/*}" \
                --filter label=com.docker.compose.service="${s#*/}" | head -n 1)
            [ -n "$c" ] || continue
            if r=$(timeout 10 docker exec "$c" qoectl health --ready < /dev/null 2>&1); then say ready "$s"
            else say ready "$s" "$(echo "$r" | tr '\\n\\t' '  ' | cut -c 1-300)"; fi
        done
        of() { docker ps -q --no-trunc --filter label=com.docker.compose.project="$1" | head -n 1; }
        p=$(of qoe-storage)
        if [ -n "$p" ]; then
            q() { timeout 10 docker exec "$p" psql -X -U postgres -d "$1" -Atq -F "$t" -c "$2" 2>/dev/null; }
            t=$(printf '\\t')
            r=$(q postgres "\(postgresQuestion)")
            say postgres "$r"
            case "$r" in primary*) say lag "$(q telemetry "\(lagQuestion)")" ;; esac
        fi
        n=$(of qoe-nats)
        if [ -n "$n" ]; then
            say nats "$(timeout 5 docker exec "$n" sh -c 'a=$NATS_BIND_ADDRESS; case "$a" in ""|0.0.0.0|"*") a=127.0.0.1;; esac
                wget -q -T 3 -O - "http://$a:8222/jsz"' 2>/dev/null | tr -d '\\n\\t')"
        fi
        exit 0

        """

    /// Of ours, those that can live and yet not do their work; probes serve no one.
    private static let programs =
        "qoe-ingest/ingest qoe-processing/aggregator qoe-processing/diagnoser"

    private static let containerFormat = #"""
        {{if eq (index .Config.Labels "com.docker.compose.oneoff") "True"}}oneoff{{else}}container{{"\t"}}\#
        {{index .Config.Labels "com.docker.compose.project"}}/{{index .Config.Labels "com.docker.compose.service"}}\#
        {{"\t"}}{{.Config.Image}}{{"\t"}}{{.State.Status}}{{"\t"}}\#
        {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}{{"\t"}}{{.RestartCount}}{{"\t"}}\#
        {{.State.StartedAt}}{{end}}
        """#

    /// Role; replicas that stream and how many bytes the worst is behind, or for a replica the age of its last change.
    private static let postgresQuestion = """
        SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END, \
        CASE WHEN pg_is_in_recovery() THEN (SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming') \
        ELSE (SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming') END, \
        CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
        ELSE (SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)) FROM pg_stat_replication) END
        """

    private static let lagQuestion =
        "SELECT stream, behind_s, unowned FROM freshness ORDER BY stream"
}
