# The steps of Scripts/test-deploy: each leaves an installation that works, and sets `note` to what it found.

step_hosts() {
    local image
    rm -rf "$work/accepted" "$work/token" "$work/backup" "$work/logs/hosts"
    : > "$work/accepted"
    hosts up
    mkdir -p "$installation/images"
    cp "$operator_folder/hosts" "$installation/hosts"
    for image in test-postgres test-nats test-haproxy qoe-test-1; do
        bring "$cache/images/$image.tar" "$installation/images/"
    done
    bring "$cache"/images/qoe-test-{1,2}.tar "$operator_folder/images/"
    # As on any machine of people.
    cat "$operator_folder/hosts" | on operator sh -c 'cat >> /etc/hosts'
    cat > "$installation/settings.env" << END
QOE_IMAGE=qoe:test-1
POSTGRES_IMAGE=test-postgres
NATS_IMAGE=test-nats
HAPROXY_IMAGE=test-haproxy
END
    note="$(hosts status | grep -c ready) hosts"
}

# What the machines will read, by the tools that will read it. What of PostgreSQL and of monitoring is left out here starts
# later, or says why it cannot be read.
step_check() {
    on operator sh -c 'cd /platform && Scripts/check-deploy-files' | tee "$work/check"
    ! grep -E '^(skipped|WRONG)' "$work/check" | grep -vE '^skipped  deploy/(postgres|otel)' \
        || broken "files are wrong or were not checked: see check.log"
    note="$(grep -c '^ok' "$work/check") checks"
}

# The folder of the hosts may be on another disk than the cache.
bring() { ln "$@" 2> /dev/null || cp "$@"; }

step_init() {
    ctl deploy init "${folder[@]}"
    ctl deploy init "${folder[@]}" | tee "$work/init-again"
    ! grep -E ': (made|copied)' "$work/init-again" || broken "the second init made something"
    ctl token create --tokens-file /operator/installation/secrets/tokens/tokens.jsonl --name load \
        --client 'load-*' | grep -oE 'qoe_[0-9a-f]+_[0-9a-f]+' > "$token_file"
    ctl deploy probe home-1 "${folder[@]}" --target tcp://10.77.0.41:8080
    note="$(find "$installation/secrets" -type f | wc -l) secrets, $(ls "$installation/certs" | wc -l) certificates"
}

step_preflight() {
    deploy preflight
    deploy preflight --json | python3 -m json.tool > "$work/preflight.json"
}

step_apply() {
    deploy apply
    until_true 60 all_healthy || broken "not healthy: $(unhealthy)"
    start_load apply
    sleep 5
    stop_load
}

step_apply_again() {
    containers > "$work/before"
    deploy apply | tee "$work/again"
    containers > "$work/after"
    diff "$work/before" "$work/after" || broken "the second apply changed something"
    note="nothing changed"
}

# A customer's machine: our image, a token and two files, behind a router that lets nobody in.
step_probe() {
    on probe-1 docker load -q -i /images/qoe-test-1.tar
    on probe-1 sh -c 'mkdir -p /root/probe && tar -C /root/probe -x' < "$installation/probes/home-1.tar"
    on probe-1 sh -c 'cd "$(dirname "$(find /root/probe -name docker-compose.probe.yml)")" \
        && docker compose --env-file .env.probe -f docker-compose.probe.yml up -d'
    until_true 60 probe_counts 3 || broken "no rows of the probe behind NAT"
    ! on ingest-1 ping -c 1 -W 1 192.168.77.2 || broken "the probe's machine can be called"
    note="$(counted home-1) events of the probe behind NAT"
}
probe_counts() { [ "$(counted home-1)" -ge "$1" ]; }

# A machine goes as in a power cut, and comes back some time later.
lose() { # host, seconds
    say_step "$1 loses its power"
    hosts kill-host "$1"
    sleep "$2"
    load_goes_on 300 60
    hosts boot "$1"
    until_true 90 all_healthy || broken "not healthy after $1 came back: $(unhealthy)"
    load_goes_on 300 30
}
step_lose_nats() { start_load nats; sleep 3; lose nats-2 8; stop_load; }
step_lose_ingest() { start_load ingest; sleep 3; lose ingest-1 8; stop_load; }
step_lose_aggregator() { start_load aggregator; sleep 3; lose aggregator-2 8; stop_load; }
# The machine of an aggregator and of the only diagnoser.
step_lose_diagnoser() { start_load diagnoser; sleep 3; lose aggregator-1 8; stop_load; }

step_failover() {
    start_load failover
    sleep 3
    hosts kill-host postgres-primary
    local began=$SECONDS
    ctl db failover "${remote[@]}" --primary-is-lost
    note="failover took $((SECONDS - began)) s"
    load_goes_on 300 30
    # A second one finds nothing to do.
    ctl db failover "${remote[@]}" --primary-is-lost | grep -i "nothing to do"
    stop_load
}

step_rejoin() {
    start_load rejoin
    hosts boot postgres-primary
    sleep 5
    [ "$(on postgres-replica sh -c 'docker exec $(docker ps -q) psql -U postgres -Atc "SELECT pg_is_in_recovery()"')" = f ]
    ctl db rejoin "${remote[@]}"
    until_true 60 replicates || broken "the old primary does not stream"
    until_true 60 all_healthy || broken "not healthy: $(unhealthy)"
    stop_load
}
replicates() { [ "$(database "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")" = 1 ]; }

step_cut_links() {
    start_load links
    local link
    for link in "ingest-1 nats" "aggregator-1 nats" "aggregator-2 storage" "nats-3 nats" \
        "postgres-primary postgres-replica"; do
        say_step "cut $link"
        hosts cut $link
        sleep 6
        load_goes_on 100 60
        hosts heal
        sleep 2
    done
    until_true 90 all_healthy || broken "not healthy after the links came back: $(unhealthy)"
    until_true 60 replicates || broken "the replica does not stream again"
    stop_load
}

step_upgrade() {
    local host
    start_load upgrade
    deploy upgrade --image-archive /operator/images/qoe-test-2.tar
    until_true 60 all_healthy || broken "not healthy: $(unhealthy)"
    for host in ingest-1 ingest-2 aggregator-1 aggregator-2; do
        ! on "$host" docker ps --format '{{.Image}}' | grep -F qoe:test-1 || broken "$host still runs qoe:test-1"
    done
    stop_load
}

# The stream counted again by another path, and compared with the tables.
step_verify() {
    deploy status
    on aggregator-1 sh -c 'umask 077; cat > /run/operator-password; chown 65532 /run/operator-password' \
        < "$installation/secrets/nats-operator-password"
    on aggregator-1 docker run --rm --network host --read-only \
        -v /run/operator-password:/run/operator-password:ro \
        -v /opt/qoe/secrets/qoe-postgres-password:/run/postgres-password:ro \
        -v /opt/qoe/certs/aggregator-1/ca.pem:/run/ca.pem:ro \
        "$(sed -n 's/^QOE_IMAGE=//p' "$installation/settings.env")" qoectl verify \
        --nats-url nats://127.0.0.1:4225 --nats-user operator --nats-password-file /run/operator-password \
        --postgres-url "${database_options[1]//\/operator\/installation\/certs/\/run}" \
        --postgres-password-file /run/postgres-password
    note="the stream and the tables agree"
}

# All machines are lost with their disks; a backup is on the operator's.
step_restore() {
    local host total
    total=$(accepted_total)
    rm -rf "$operator_folder/backup"
    deploy backup /operator/backup
    for host in $machines; do
        hosts kill-host "$host"
        hosts wipe "$host"
        hosts boot "$host"
    done
    # The folder is lost as well, but for the images.
    rm -rf "$work/images"
    mv "$installation/images" "$work/images"
    rm -rf "$installation"
    mkdir "$installation"
    mv "$work/images" "$installation/images"
    deploy restore /operator/backup
    deploy apply | tee "$work/again"
    grep -F 'nothing to do' "$work/again" || broken "an apply after the restore changed something"
    until_true 90 all_healthy || broken "not healthy: $(unhealthy)"
    [ "$(counted load-)" -eq "$total" ] || broken "accepted $total before, counted $(counted load-) after the restore"
    start_load restored
    load_goes_on 500 60
    stop_load
    note="$note; all $total events of before are there"
}
