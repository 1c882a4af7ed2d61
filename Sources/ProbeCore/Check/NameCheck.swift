internal import Transport

/// Whether the system's resolver knows a host.
struct NameCheck {
    static let name = "dns"

    let host: String
    /// Whether it is ingest's: without it nothing is delivered.
    let isIngest: Bool

    func run(_ resolver: Resolver, _ patience: Patience) -> CheckFinding {
        do throws(TransportError) {
            let answer = try resolver.addresses(of: host, port: 0, patience)
            let first = answer.addresses.first.map { ", first \($0.host)" } ?? ""
            let count = answer.addresses.count
            return .ok(
                Self.name, of: host,
                "\(count) \(count == 1 ? "address" : "addresses") in"
                    + " \(decimal(answer.finished.since(answer.started).inMilliseconds)) ms\(first)"
            )
        } catch {
            let advice =
                switch error.code {
                case .nameNotFound:
                    "correct the name in \(isIngest ? "--ingest-url" : "--target"), or add it to DNS"
                case .timedOut, .nameLookupFailed:
                    "see whether /etc/resolv.conf names a resolver that this machine reaches"
                default: "try again"
                }
            return isIngest
                ? .failed(Self.name, of: host, error.message, advice)
                : .warning(Self.name, of: host, error.message, advice)
        }
    }
}
