/// The stage at which a measurement failed.
///
/// The raw value is part of the block format; 0 there means that nothing failed.
package enum ErrorStage: UInt8, CaseIterable, Sendable, Hashable {
    case dns = 1
    case tcp = 2
    case tls = 3
    case http = 4
    case throughput = 5

    /// The stage's name in JSON and in SQL.
    package var name: String {
        switch self {
        case .dns: "dns"
        case .tcp: "tcp"
        case .tls: "tls"
        case .http: "http"
        case .throughput: "throughput"
        }
    }

    /// The stage with this name, or nil.
    package init?(name: some StringProtocol) {
        guard let stage = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = stage
    }
}
