# Read by the scripts of the deployment test: folders, messages, packages, processes ended by pid.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
parts=$checkout/Scripts/deploy-test
# What takes long to make and stays the same from run to run.
cache=${QOE_TEST_CACHE:-$checkout/.build/deploy-test}
# The running hosts.
state=${QOE_TEST_HOSTS:-$checkout/.build/test-hosts}

program=$(basename "$0")
say() { echo "$program: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# Commands that must be there, each as command or command:package.
need() {
    local item missing=()
    [ "$(id -u)" -eq 0 ] || fail "network namespaces and mounts need root"
    for item; do
        command -v "${item%%:*}" > /dev/null || missing+=("${item##*:}")
    done
    [ ${#missing[@]} -eq 0 ] \
        || fail "missing: apt-get install --no-install-recommends ${missing[*]}"
}

# When a process began, in ticks since boot: with the pid, it names a process for ever.
born() {
    local stat
    { read -r stat < "/proc/$1/stat"; } 2> /dev/null || return 1
    # The second word is a name in brackets and may hold anything.
    set -- ${stat##*) }
    # Ended, and not yet waited for.
    [ "$1" != Z ] || return 1
    echo "${20}"
}

# A file with a pid and when it began.
remember() { echo "$2 $(born "$2")" > "$1"; }
pid_of() {
    local pid began
    { read -r pid began < "$1"; } 2> /dev/null || return 1
    [ -n "$began" ] && [ "$(born "$pid")" = "$began" ] && echo "$pid"
}

# Ends the process of a file and waits until it is gone, which for the first process of a PID
# namespace means: with all that was in it.
end() {
    local pid
    if pid=$(pid_of "$1"); then
        kill -KILL "$pid" 2> /dev/null
        until_true 30 gone "$1" || fail "process $pid does not end"
    fi
    rm -f "$1"
}
gone() { ! pid_of "$1" > /dev/null; }

# until_true SECONDS COMMAND…
until_true() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}
