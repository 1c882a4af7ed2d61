/// Commands of a machine that our scripts call; nearly every system has them all.
enum RequiredCommands {
    /// With the packages of Debian that have them.
    private static let packages: [(command: String, package: String)] = [
        ("awk", "mawk"), ("cut", "coreutils"), ("df", "coreutils"), ("dirname", "coreutils"),
        ("find", "findutils"), ("flock", "util-linux"), ("getconf", "libc-bin"),
        ("grep", "grep"), ("head", "coreutils"), ("mktemp", "coreutils"), ("sed", "sed"),
        ("sha256sum", "coreutils"), ("stat", "coreutils"), ("tar", "tar"),
        ("timeout", "coreutils"), ("tr", "coreutils"),
    ]

    /// Says `missing` and the name of each that is not there, and then ends; needs none of them.
    static let script = """
        m=
        for c in \(packages.map(\.command).joined(separator: " ")); do
            command -v "$c" > /dev/null || { printf 'missing\\t%s\\n' "$c"; m=1; }
        done
        [ -z "$m" ] || exit 0

        """

    /// One line for all of them; nil when there are none.
    static func problem(missing: [String]) -> String? {
        guard !missing.isEmpty else { return nil }
        let wanted = Set(packages.filter { missing.contains($0.command) }.map(\.package))
        return "commands that qoectl needs are missing there: \(missing.joined(separator: ", ")); "
            + "install them (apt install \(wanted.sorted().joined(separator: " ")))"
    }
}
