/// The question that ``MachineFacts`` is the answer to. Changes nothing that stays.
struct AskScript {
    let folder: RemoteFolder
    let wanted: MachineFiles

    /// Read by the script: the compose files as they shall be, for compose to say what that means.
    var input: [UInt8] {
        TarArchive.bytes(
            wanted.files.filter {
                $0.path.hasPrefix("docker-compose.") || $0.path.hasPrefix(".env")
            })
    }

    var text: String {
        let images = Set(wanted.images.values).sorted().map(shellQuoted).joined(separator: " ")
        let data = wanted.dataFolders.map { shellQuoted($0.path) }.joined(separator: " ")
        return """
            umask 077
            \(RequiredCommands.script)\
            t=$(mktemp -d /tmp/qoe-ask-XXXXXX) || exit 1
            trap 'rm -rf "$t"' EXIT
            tar -xf - -C "$t"
            say() { printf '%s\\t' "$@"; echo; }
            line() { tr '\\n\\t' '  ' | cut -c 1-400; }
            p=$(df -Pk /var/lib 2>/dev/null | awk 'NR == 2 { print $4 }')
            say free "$p"
            block=$(sed -n '/^\(HostsBlock.beginPattern)$/,/^\(HostsBlock.endPattern)$/p' /etc/hosts 2>/dev/null)
            if [ -n "$block" ]; then say hosts "$(printf '%s\\n' "$block" | sha256sum | cut -c 1-64)"; fi
            for d in \(data); do
                if [ -d "$d" ]; then say data "$(stat -c %a "$d")" "$(stat -c %u "$d")" "$d"; fi
            done
            if [ -d \(folder.path) ]; then
                cd \(folder.path)
                find . -type f ! -path './state/*' | while read -r f; do
                    say mode "$(stat -c %a "$f")" "$(stat -c %u "$f")" "$f"
                    say sum "$(sha256sum "$f")"
                done
                if [ -f state/loaded ]; then cat state/loaded; fi
            fi
            if ! command -v docker > /dev/null; then say docker-problem 'it is not installed'; exit 0; fi
            if ! v=$(docker version --format '{{.Server.Version}}' 2>"$t/e"); then
                say docker-problem "$(line < "$t/e")"
                exit 0
            fi
            say docker "$v"
            say compose "$(docker compose version --short 2>/dev/null)"
            for i in \(images); do
                d=$(docker image inspect --format '{{.Id}}' "$i" 2>/dev/null) && say image "$i" "$d"
            done
            c=$(docker ps -aq --no-trunc --filter label=com.docker.compose.project)
            if [ -n "$c" ]; then
                # No health check is none; a container of compose's run is not the service.
                docker inspect --format '\(Self.containerFormat)' $c | grep -v ^oneoff
            fi
            \(databases)\(hashes)exit 0

            """
    }

    /// Who is the primary now, whatever it is called.
    private var databases: String {
        wanted.services.filter { $0.tier == .storage }.map { service in
            """
            c=$(docker ps -q --filter label=com.docker.compose.project=\(service.tier.project) \
            --filter label=com.docker.compose.service=\(service.name) | head -n 1)
            [ -z "$c" ] || say recovery \(service.key) "$(timeout 10 docker exec "$c" psql -X -U postgres \
            -Atqc 'SELECT pg_is_in_recovery()' < /dev/null 2>/dev/null)"

            """
        }.joined()
    }

    private var hashes: String {
        Self.tiers(of: wanted).map { tier in
            let own = wanted.services.filter { $0.tier == tier }
            let profile = own.compactMap(\.profile).first
            // Relative paths are those of the folder, whether it is there or not.
            let environment = (tier == .probe ? ["$t/.env.probe", "$t/.env"] : ["$t/.env"])
                .map { "--env-file \"\($0)\" " }.joined()
            let profiles = profile.map { "--profile \($0) " } ?? ""
            return """
                if h=$(docker compose --project-directory \(folder.path) \(environment)\(profiles)\
                -f "$t/\(tier.file)" config --hash '*' 2>"$t/e"); then
                    printf '%s\\n' "$h" | while read -r l; do say hash \(tier.project) "$l"; done
                else
                    say hash-problem \(tier.rawValue) "$(line < "$t/e")"
                fi

                """
        }.joined()
    }

    static func tiers(of wanted: MachineFiles) -> [ComposeService.Tier] {
        ComposeService.Tier.allCases.filter { tier in
            wanted.services.contains { $0.tier == tier }
        }
    }

    /// One line a container, its parts separated by tabs.
    static let containerFormat = #"""
        {{if eq (index .Config.Labels "com.docker.compose.oneoff") "True"}}oneoff{{else}}container{{"\t"}}\#
        {{index .Config.Labels "com.docker.compose.project"}}/{{index .Config.Labels "com.docker.compose.service"}}\#
        {{"\t"}}{{index .Config.Labels "com.docker.compose.config-hash"}}{{"\t"}}{{.Image}}{{"\t"}}\#
        {{.State.Status}}{{"\t"}}{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}{{"\t"}}\#
        {{.RestartCount}}{{"\t"}}{{.Config.Image}}{{end}}
        """#
}

/// Our lines in a machine's `/etc/hosts`.
package enum HostsBlock {
    static let begin = "# qoe: begin (by qoectl deploy apply)"
    static let end = "# qoe: end"
    static let beginPattern = "# qoe: begin.*"
    static let endPattern = "# qoe: end"

    /// With its marks.
    package static func text(_ lines: String) -> String { "\(begin)\n\(lines)\(end)\n" }

    /// Puts it in the place of the old one, or at the end. The file may be mounted, and so keeps its inode.
    static func script(_ lines: String?) -> String {
        """
        h=$(mktemp /tmp/qoe-hosts-XXXXXX)
        sed '/^\(beginPattern)$/,/^\(endPattern)$/d' /etc/hosts > "$h"
        \(lines.map { "cat >> \"$h\" <<'QOE-HOSTS'\n\(text($0))QOE-HOSTS" } ?? ":")
        cat "$h" > /etc/hosts
        rm -f "$h"

        """
    }
}
