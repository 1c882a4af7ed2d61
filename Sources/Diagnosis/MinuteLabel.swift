/// A first answer to "what is wrong" for one client and one target in one minute.
///
/// The names are those of the platform's predecessor, so that its published queries and dashboards keep working.
package enum MinuteLabel: String, CaseIterable, Hashable, Sendable {
    case dnsBound = "dns-bound"
    case handshakeBound = "handshake-bound"
    case serverBound = "server-bound"
    case throughputBound = "throughput-bound"
    case healthy
}
