package import Postgres

extension PostgresReplicaState: CustomStringConvertible {
    /// Such as `replica 127.0.0.1:5433, at most 0.3 s behind`.
    package var description: String {
        let time = seconds.map { "\(oneDecimal($0)) s behind" }
        if !isFollowing {
            return "replica \(host), \(time ?? "unknown how far behind") and following no primary"
        }
        if hasReplayedAll {
            return
                "replica \(host)\(time.map { ", at most \($0)" } ?? ""): it has replayed all that "
                + "it received"
        }
        return "replica \(host)\(time.map { ", \($0)" } ?? ""): it is replaying what it received"
    }
}

/// `value` with one digit behind the point.
func oneDecimal(_ value: Double) -> String {
    let tenths = (value * 10).rounded()
    guard abs(tenths) < 1e15 else { return "\(value)" }
    let whole = Int64(tenths)
    return "\(whole < 0 ? "-" : "")\(whole.magnitude / 10).\(whole.magnitude % 10)"
}
