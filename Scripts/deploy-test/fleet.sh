# How the steps of Scripts/test-deploy speak to the hosts, make load and count.

hosts() { "$checkout/Scripts/test-hosts" "$@"; }
on() { hosts exec "$@"; } # host, command…
operator_folder=$state/operator
installation=$operator_folder/installation

# The operator's command, on the operator's machine.
ctl() {
    on operator sh -c 'cd /operator && exec /platform/.build-binaries/qoectl "$@"' qoectl "$@"
}
remote=(--hosts /operator/installation/hosts --ssh-config /operator/ssh_config)
folder=(--installation /operator/installation --sources /platform)
deploy() { # command, arguments…
    local command=$1
    shift
    ctl deploy "$command" "${folder[@]}" --ssh-config /operator/ssh_config "$@"
}
database_options=(
    --postgres-url "postgresql://qoe@postgres-primary,postgres-replica/telemetry?target_session_attrs=read-write&sslmode=verify-full&sslrootcert=/operator/installation/certs/ca.pem"
    --postgres-password-file /operator/installation/secrets/postgres-qoe-password)

machines="postgres-primary postgres-replica nats-1 nats-2 nats-3 aggregator-1 aggregator-2 ingest-1 ingest-2"

# Asks the database server that is the primary now, as its superuser.
database() {
    local host container
    for host in postgres-primary postgres-replica; do
        container=$(on "$host" docker ps -q --filter label=com.docker.compose.project=qoe-storage 2> /dev/null) || continue
        [ -n "$container" ] || continue
        if [ "$(on "$host" docker exec "$container" psql -U postgres -Atc 'SELECT pg_is_in_recovery()' 2> /dev/null)" = f ]; then
            on "$host" docker exec "$container" psql -U postgres -d telemetry -v ON_ERROR_STOP=1 -Atc "$1" && return
        fi
    done
    return 1
}
counted() { # beginning of client_id
    database "SELECT coalesce(sum(count_total), 0)::bigint FROM agg_1m WHERE starts_with(client_id, '$1')" || echo 0
}

# All containers of the fleet: what must stay the same where nothing is to change.
containers() {
    local host
    for host in $machines; do
        on "$host" sh -c 'docker ps -aq --no-trunc | xargs -r docker inspect \
            --format "{{.Name}} {{.Id}} {{.State.StartedAt}} {{.State.Status}}" | sort' | sed "s/^/$host /"
        on "$host" sh -c 'cat /etc/hosts; find /opt/qoe -type f 2> /dev/null | sort | xargs -r sha256sum' | sha256sum
    done
}
unhealthy() {
    local host
    for host in $machines; do
        on "$host" docker ps -a --format '{{.Names}} {{.Status}}' | grep -v '(healthy)' | grep -v Exited.*0 | sed "s/^/$host: /" || true
    done
}
all_healthy() { [ -z "$(unhealthy)" ]; }

# The load: from behind the router, as probes are.
load_pid=
load_name=
ingest_url() { # host
    local name=$1 address
    address=$(. "$state/hosts/$name/settings" && echo "$ADDRESS")
    if at_home curl -sk -m 3 -o /dev/null "https://$address:8080/health"; then
        echo "https://$address:8080"
    else
        echo "http://$address:8080"
    fi
}
at_home() { nsenter --target "$(pid_of "$state/hosts/probe-1/pid")" --net -- "$@"; }
token_file=$work/token
start_load() { # name
    local ca=()
    load_name=load-$1-$(date +%s)
    rm -f "$work/load.json"
    [ ! -e "$installation/certs/ca.pem" ] || ca=(--ca "$installation/certs/ca.pem")
    # Not by at_home: the pid must be its own.
    nsenter --target "$(pid_of "$state/hosts/probe-1/pid")" --net -- "$parts/load" --client "$load_name" --token-file "$token_file" --status "$work/load.json" "${ca[@]}" \
        ${LOAD_ARGS:-} "$(ingest_url ingest-1)" "$(ingest_url ingest-2)" > "$work/logs/$load_name.log" 2>&1 3>&- 4>&- &
    load_pid=$!
    until_true 30 load_has 1 || broken "the load gets no 202: $(cat "$work/load.json" "$work/logs/$load_name.log")"
    say_step "load: $load_name"
}
load_field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/load.json" "$1"; }
load_has() { [ -s "$work/load.json" ] && [ "$(load_field accepted)" -ge "$1" ]; }
# Waits until so many more events were accepted: the installation works.
load_goes_on() { # events, seconds
    local until=$(($(load_field accepted) + $1))
    until_true "$2" load_has "$until" || broken "no $1 events were accepted within $2 s: $(cat "$work/load.json")"
}
stop_load_now() {
    [ -z "$load_pid" ] || kill -KILL "$load_pid" 2> /dev/null || true
    load_pid=
}
# Ends the load and waits until what was accepted is what is counted, no less and no more.
stop_load() {
    local accepted count began=$SECONDS
    kill -TERM "$load_pid"
    wait "$load_pid" || broken "the load ended badly: $(cat "$work/load.json")"
    load_pid=
    accepted=$(load_field accepted)
    say_step "load: $(cat "$work/load.json")"
    until_true "${COUNT_SECONDS:-90}" counts "$load_name" "$accepted" \
        || broken "accepted $accepted, counted $(counted "$load_name") ${COUNT_SECONDS:-90} s after the load's end"
    echo "$load_name $accepted" >> "$work/accepted"
    note="$note${note:+; }accepted $accepted, counted $(counted "$load_name"), all after $((SECONDS - began)) s; longest wait for a 202: $(load_field longest_gap_s) s"
}
counts() {
    local count
    count=$(counted "$1")
    [ "$count" -le "$2" ] || broken "accepted $2, counted $count: too many"
    [ "$count" -eq "$2" ]
}
accepted_total() { awk '{ sum += $2 } END { print sum + 0 }' "$work/accepted"; }

say_step() { echo "== $(date +%T) $*"; }

collect_logs() {
    local host container
    for host in $machines probe-1; do
        mkdir -p "$work/logs/hosts/$host"
        cp "$state/hosts/$host/disk/upper/var/log/dockerd.log" "$work/logs/hosts/$host/" 2> /dev/null || true
        for container in $(on "$host" docker ps -a --format '{{.Names}}' 2> /dev/null); do
            on "$host" docker logs "$container" > "$work/logs/hosts/$host/$container.log" 2>&1 || true
        done
        on "$host" docker ps -a > "$work/logs/hosts/$host/containers" 2>&1 || true
    done
    echo "        logs of the hosts: $work/logs/hosts" >&2
}
