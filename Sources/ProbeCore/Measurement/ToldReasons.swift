internal import Synchronization
internal import Telemetry

/// For which targets it was told, and with which reason, that this machine cannot measure them.
final class ToldReasons: Sendable {
    /// Reloads may bring ever new targets; beyond this many all is forgotten, and told once more.
    private static let targetsMax = 4096

    private let reasons = Mutex<[Name: String]>([:])

    /// Notes a reason; false when it is the one that was noted for the target before.
    func isNew(_ reason: String, of target: Name) -> Bool {
        reasons.withLock { reasons in
            if reasons.count >= Self.targetsMax { reasons = [:] }
            return reasons.updateValue(reason, forKey: target) != reason
        }
    }

    /// The target was measured: what is wrong later is news.
    func forget(_ target: Name) {
        reasons.withLock { _ = $0.removeValue(forKey: target) }
    }
}
