/// The question that ``MachineCondition`` is the answer to. Changes nothing.
struct PreflightScript {
    /// Where data and files will lie; none of them need be there yet.
    let folders: [String]

    var text: String {
        let folders = folders.map(shellQuoted).joined(separator: " ")
        return """
            export LC_ALL=C
            \(RequiredCommands.script)\
            e=$(mktemp /tmp/qoe-preflight-XXXXXX) || exit 1
            trap 'rm -f "$e"' EXIT
            say() { printf '%s\\t' "$@"; echo; }
            say system "$(. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME")"
            say cores "$(getconf _NPROCESSORS_ONLN)"
            \(MachineCapacity.script)\
            say memory "$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo)"
            if ! command -v docker > /dev/null; then say docker-problem 'it is not installed'
            elif v=$(docker version --format '{{.Server.Version}}' 2>"$e"); then
                say docker "$v"
                say compose "$(docker compose version --short 2>/dev/null)"
                r=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)
                docker ps --filter label=com.docker.compose.project --format \
            'container\t{{.Label "com.docker.compose.project"}}/{{.Label "com.docker.compose.service"}}'
            else say docker-problem "$(tr '\\n\\t' '  ' < "$e" | cut -c 1-300)"
            fi
            for d in \(folders) $r; do
                while [ ! -d "$d" ]; do d=$(dirname "$d"); done
                df -Pk "$d" 2>/dev/null | awk -v d="$d" 'NR == 2 { printf "free\\t%s\\t%s\\n", $4, d }'
            done
            cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "0A" { print "listens\\t" $2 }'
            if command -v ss > /dev/null; then ss -Hltnp 2>/dev/null | awk '{ print "owner\\t" $4 "\\t" $6 }'; fi
            exit 0

            """
    }
}
