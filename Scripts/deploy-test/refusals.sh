# What stands in the way is said in one clear line, and nothing is changed.

# refuses WHAT, part of the line, command…: it fails, says that, and leaves every machine as it was.
refuses() {
    local what=$1 expected=$2 line
    shift 2
    say_step "refused: $what"
    containers > "$work/before"
    if "$@" > "$work/refused" 2>&1; then
        cat "$work/refused"
        broken "$what: it was not refused"
    fi
    cat "$work/refused"
    line=$(grep -E "$expected" "$work/refused" | head -n 1 || true)
    [ -n "$line" ] || broken "$what: no line says '$expected'"
    containers > "$work/after"
    diff "$work/before" "$work/after" || broken "$what: something was changed"
    printf '  %-18s %s\n' "$what" "$line" >&3
    refused=$((refused + 1))
}

step_refuse() {
    local ssh_config=/operator/ssh_config
    refused=0

    mkdir -p "$operator_folder/wrong"
    sed 's/aggregator-1/agregator-1/' "$installation/hosts" > "$operator_folder/wrong/hosts"
    refuses "wrong hosts file" "did you mean aggregator-1" \
        ctl deploy apply --installation /operator/wrong --sources /platform --ssh-config "$ssh_config"

    ssh-keygen -q -t ed25519 -N "" -f "$operator_folder/other" <<< y > /dev/null
    sed 's/id_ed25519/other/' "$operator_folder/ssh_config" > "$operator_folder/other_config"
    refuses "wrong key" "nats-1 .*authorized_keys" \
        ctl deploy apply --installation /operator/installation --sources /platform --ssh-config /operator/other_config

    on nats-2 sh -c 'setsid nc -lk -p 8222 < /dev/null > /dev/null 2>&1 & echo $! > /run/busy'
    sleep 0.3
    refuses "busy port" "nats-2.* port 8222" deploy preflight
    on nats-2 sh -c 'kill $(cat /run/busy)'

    on ingest-2 sh -c 'mkdir -p /opt && mount -t tmpfs -o size=64m tmpfs /opt'
    refuses "full disk" "ingest-2: /opt has [0-9]+ MiB free" deploy preflight
    on ingest-2 umount /opt

    on nats-1 sh -c 'cat > /usr/local/bin/docker; chmod 755 /usr/local/bin/docker' << 'END'
#!/bin/sh
[ "$1" != version ] || { echo 19.03.8; exit; }
exec /usr/bin/docker "$@"
END
    refuses "old Docker" "nats-1: docker 19.03.8 is too old" deploy preflight
    on nats-1 rm /usr/local/bin/docker

    on ingest-1 sh -c 'cat > /usr/local/bin/date; chmod 755 /usr/local/bin/date' << 'END'
#!/bin/sh
exec /usr/bin/date -d "90 seconds" "$@"
END
    refuses "skewed clock" "ingest-1: its clock is [0-9]+ ms ahead" deploy preflight
    on ingest-1 rm /usr/local/bin/date

    hosts cut ingest-1 nats-3
    refuses "cut link" "ingest-1: cannot reach nats-3" deploy preflight
    hosts heal

    deploy preflight
    note="$refused refusals, nothing changed by them"
}
