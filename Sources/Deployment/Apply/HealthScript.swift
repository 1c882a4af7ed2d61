/// Waits on a machine until a service's container is healthy; else says in its first line what it is, and then the last
/// lines of its log.
struct HealthScript {
    let folder: RemoteFolder
    let service: ComposeService
    let timeout: Duration

    /// A container that ended so often since is not going to stay.
    private static let restartMax = 5
    /// An unhealthy container may recover within so many seconds.
    private static let unhealthySecondsMax = 60
    /// Without a check, it counts as well when it has run so many seconds.
    private static let steadySeconds = 3
    private static let logLines = 20

    var text: String {
        let compose = folder.compose(service.tier, profile: service.profile)
        return """
            cd \(folder.path) || exit 1
            c=$(\(compose) ps -aq \(service.name) < /dev/null | head -n 1)
            ask() { docker inspect --format '{{.State.Status}} \
            {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.RestartCount}}' "$c" 2>&1; }
            i=0 bad=0 steady=0 why='it has no container'
            [ -n "$c" ] && while :; do
                set -- $(ask)
                [ -n "$first" ] || first=$3
                why="$1, health $2"
                case "$1 $2" in
                    'running healthy') exit 0 ;;
                    'running none')
                        steady=$((steady + 1))
                        [ "$steady" -le \(Self.steadySeconds) ] || exit 0 ;;
                    'running unhealthy') bad=$((bad + 1)) ;;
                    running*) bad=0 ;;
                    *) steady=0 ;;
                esac
                if [ "$((${3:-0} - ${first:-0}))" -ge \(Self.restartMax) ]; then
                    why="it ends again and again, exit code $(docker inspect --format '{{.State.ExitCode}}' "$c")"
                    break
                fi
                if [ "$bad" -ge \(Self.unhealthySecondsMax) ]; then break; fi
                if [ "$i" -ge \(timeout.components.seconds) ]; then why="$why after $i s"; break; fi
                i=$((i + 1)); sleep 1
            done
            echo "$why"
            docker logs --tail \(Self.logLines) "$c" 2>&1
            exit 1

            """
    }
}

/// Text of machines for people's terminals.
package enum PrintableText {
    private static let byteMax = 1000

    /// Without control characters, and cut.
    package static func line(_ text: String) -> String {
        String(
            decoding: text.utf8.prefix(byteMax).filter { ($0 >= 0x20 && $0 != 0x7F) || $0 == 9 },
            as: UTF8.self)
    }
}
