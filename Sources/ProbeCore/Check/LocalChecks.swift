internal import Glibc
internal import Telemetry
internal import Transport

/// Whether this process may have as many files and sockets open as its measurements can need.
enum OpenFilesCheck {
    static let name = "open files"

    /// What a probe has open beside its measurements: spool, connections to ingest, lookups, pipes.
    private static let baseCount = 64
    /// A measurement has a socket, and a loaded one a few at a time more.
    private static let perMeasurementCount = 2

    static func run(inFlightMax: Int) -> CheckFinding {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return .skipped(name, "the system does not tell the limit")
        }
        return judge(limit: UInt64(limit.rlim_cur), inFlightMax: inFlightMax)
    }

    static func judge(limit: UInt64, inFlightMax: Int) -> CheckFinding {
        let needed = baseCount + perMeasurementCount * inFlightMax
        let most = limit == .max ? "no limit" : "a limit of \(limit)"
        let found = "\(most); --max-in-flight \(inFlightMax) may need \(needed)"
        guard limit >= UInt64(clamping: needed) else {
            return .warning(
                name, found, "raise it (ulimit -n, LimitNOFILE=) or lower --max-in-flight")
        }
        return .ok(name, found)
    }
}

/// Whether somebody expects a proxy to be used.
enum ProxyCheck {
    static let name = "proxy"

    private static let variables = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]

    /// - Parameter environment: Values are never shown, as they may hold passwords.
    static func run(_ environment: [String: String]) -> CheckFinding {
        let set = (variables + variables.map { $0.lowercased() }).filter {
            !(environment[$0] ?? "").isEmpty
        }
        guard !set.isEmpty else { return .ok(name, "none in the environment") }
        return .warning(
            name, "\(set.joined(separator: ", ")) is set and ignored",
            "a probe measures the network itself: let it reach ingest and its targets directly")
    }
}

/// What this machine has of IPv6.
enum IPv6Check {
    static let name = "ipv6"

    private static let fileBytesMax = 1 << 20

    static func run(_ targets: [Target]) -> CheckFinding {
        let text = try? SmallFile.read("/proc/thread-self/net/if_inet6", bytesMax: fileBytesMax)
        return finding(interfaces(in: text ?? ""), targets)
    }

    static func finding(_ interfaces: [String], _ targets: [Target]) -> CheckFinding {
        guard interfaces.isEmpty else {
            return .ok(name, "a global address on \(interfaces.joined(separator: ", "))")
        }
        let affected = targets.filter { $0.family == .ipv6 && $0.host != "::1" }
        guard !affected.isEmpty else { return .ok(name, "no global address; IPv4 alone is used") }
        let names = affected.map(\.name.text).joined(separator: ", ")
        return .warning(
            name, "no global address, but these targets need one: \(names)",
            "give this machine IPv6, or these targets family=ipv4")
    }

    /// The interfaces with an address of global scope, in the format of `/proc/net/if_inet6`.
    static func interfaces(in text: String) -> [String] {
        var names: [String] = []
        for line in text.split(separator: "\n") {
            let columns = line.split(separator: " ")
            // The scope of the fourth column is 00 for global, 10 for this host, 20 for the link.
            guard columns.count == 6, columns[3] == "00", !names.contains(String(columns[5]))
            else { continue }
            names.append(String(columns[5]))
        }
        return names
    }
}
