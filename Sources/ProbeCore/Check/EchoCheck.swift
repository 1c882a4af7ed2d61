internal import Telemetry
internal import Transport

/// Whether this process may send ICMP echo requests, and which targets need that.
enum EchoCheck {
    static let name = "icmp"

    /// A finding for each family.
    static func findings(_ permission: EchoPermission, _ targets: [Target]) -> [CheckFinding] {
        AddressFamily.allCases.map { family in
            let means = family == .ipv4 ? permission.ipv4 : permission.ipv6
            guard means == .none else { return .ok(name, of: family.rawValue, "by \(means.words)") }
            let affected = targets.filter { $0.isEcho && ($0.family ?? family) == family }
            guard !affected.isEmpty else {
                return .ok(name, of: family.rawValue, "not permitted, and no target needs it")
            }
            let names = affected.map(\.name.text).joined(separator: ", ")
            return .warning(
                name, of: family.rawValue, "not permitted; not measured: \(names)",
                EchoPermission.remedy)
        }
    }
}

extension Target {
    fileprivate var isEcho: Bool {
        if case .echo(let echo) = method { return echo.carrier == .icmp }
        return false
    }
}

extension EchoPermission.Means {
    fileprivate var words: String {
        switch self {
        case .pingSocket: "ping socket (net.ipv4.ping_group_range)"
        case .rawSocket: "raw socket (CAP_NET_RAW)"
        case .none: "no means"
        }
    }
}
