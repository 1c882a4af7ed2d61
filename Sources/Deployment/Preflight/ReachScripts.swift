/// Opens ports for a moment, so that there is something to connect to where nothing listens yet.
///
/// The listener ends by itself, also when nobody is left to end it. It says `listener` with its pid, and `closed` with a port
/// that could not be opened.
struct ListenScript {
    let ports: [UInt16]
    let isIPv6: Bool

    /// Longer than all connecting takes.
    static let seconds = 60
    private static let mark = "qoe-preflight"

    var text: String {
        let arguments =
            "\(Self.mark) \(Self.seconds) \(isIPv6 ? 1 : 0) "
            + ports.map(String.init).joined(separator: " ")
        return """
            if command -v perl > /dev/null && perl -MSocket -e 1 2>/dev/null; then
                perl -e '\(Self.perl)' \(arguments)
            elif command -v python3 > /dev/null; then
                python3 -c '\(Self.python)' \(arguments)
            else
                printf 'no-tool\\n'
            fi
            exit 0

            """
    }

    /// Ends the listeners, which are those with our mark.
    static func end(_ pids: [Int32]) -> String {
        """
        for p in \(pids.map(String.init).joined(separator: " ")); do
            if tr '\\0' ' ' < "/proc/$p/cmdline" 2>/dev/null | grep -q ' \(mark) '; then kill "$p"; fi
        done
        exit 0

        """
    }

    // In single quotes of a shell: without any of their own.
    private static let perl = """
        use Socket qw(:DEFAULT pack_sockaddr_in6 AF_INET6 IN6ADDR_ANY);
        my (undef, $seconds, $six, @ports) = @ARGV; my @kept;
        for my $p (@ports) {
            my $s;
            if (socket($s, $six ? AF_INET6 : AF_INET, SOCK_STREAM, 0)
                && setsockopt($s, SOL_SOCKET, SO_REUSEADDR, 1)
                && bind($s, $six ? pack_sockaddr_in6($p, IN6ADDR_ANY) : pack_sockaddr_in($p, INADDR_ANY))
                && listen($s, 128)) { push @kept, $s } else { print "closed\\t$p\\t$!\\n" }
        }
        $| = 1;
        my $pid = fork;
        if ($pid) { print "listener\\t$pid\\n"; exit 0 }
        open STDIN, "<", "/dev/null"; open STDOUT, ">", "/dev/null"; open STDERR, ">", "/dev/null";
        sleep $seconds
        """

    private static let python = """
        import os, socket, sys, time
        seconds, six, kept = int(sys.argv[2]), sys.argv[3] == "1", []
        for port in sys.argv[4:]:
            try:
                s = socket.socket(socket.AF_INET6 if six else socket.AF_INET)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("::" if six else "0.0.0.0", int(port)))
                s.listen(128)
                kept.append(s)
            except OSError as error:
                print("closed", port, error.strerror, sep="\\t", flush=True)
        pid = os.fork()
        if pid:
            print("listener", pid, sep="\\t", flush=True)
            os._exit(0)
        null = os.open("/dev/null", os.O_RDWR)
        for stream in (0, 1, 2): os.dup2(null, stream)
        time.sleep(seconds)
        """

    /// Its answer: pids of listeners; nil when the machine has no program that can listen.
    static func pids(_ answer: String) -> [Int32]? {
        let lines = answer.split(separator: "\n").map { $0.split(separator: "\t") }
        if lines.contains(where: { $0.first == "no-tool" }) { return nil }
        return lines.compactMap { line in
            line.count > 1 && line[0] == "listener" ? Int32(line[1]) : nil
        }
    }
}

/// Connects to ports, all at once.
struct ConnectScript {
    let targets: [(address: HostAddress, port: UInt16)]

    /// A packet that is lost is sent again within this time.
    static let seconds = 4

    var text: String {
        let lines = targets.map { "try \($0.address.text) \($0.port) &\n" }.joined()
        return """
            try() {
                if command -v bash > /dev/null; then
                    timeout \(Self.seconds) bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null; s=$?
                elif command -v nc > /dev/null; then
                    nc -z -w \(Self.seconds) "$1" "$2" > /dev/null 2>&1; s=$?
                else s=no-tool
                fi
                printf 'path\\t%s\\t%s\\t%s\\n' "$1" "$2" "$s"
            }
            \(lines)wait
            exit 0

            """
    }

    /// Its answer, by address and port.
    static func verdicts(_ answer: String) -> [String: PathState] {
        answer.split(separator: "\n").reduce(into: [:]) { found, line in
            let parts = line.split(separator: "\t")
            guard parts.count == 4, parts[0] == "path" else { return }
            found["\(parts[1]) \(parts[2])"] =
                switch parts[3] {
                case "0": .open
                case "no-tool": .unknown("there is neither bash nor nc to try it with")
                case "124", "143": .closed("no answer within \(seconds) s")
                default: .closed("refused, or no way there")
                }
        }
    }
}
