internal import Bus
internal import Logging
internal import NATSClient
internal import ServiceKit
internal import Synchronization

/// Whether probes are to measure nothing, as the stream of orders says.
///
/// While NATS cannot be asked, what was known stays in force: a stop must not end because a server went away.
final class FleetSuppression: Sendable {
    private let active = Atomic(false)
    private let connection: @Sendable () -> NATSConnection?
    private let logger: Logger

    /// The time between two looks, in which an order has not reached every probe yet.
    private static let lookEvery = Duration.seconds(1)

    /// - Parameter connection: The connection to NATS, nil while there is none.
    init(connection: @escaping @Sendable () -> NATSConnection?, logger: Logger) {
        self.connection = connection
        self.logger = logger
    }

    /// Costs no more than a load; answers are written at every rate.
    var isActive: Bool { active.load(ordering: .relaxed) }

    /// Looks until `stop` is given. Blocks.
    func watch(until stop: StopSignal) {
        repeat { look() } while !stop.wait(for: Self.lookEvery)
    }

    private func look() {
        guard let connection = connection() else { return }
        let order: SuppressionOrder?
        do {
            order = try FleetOrders(connection).suppression()
        } catch {
            logger.debug("the order to the fleet stays as it was: \(error)")
            return
        }
        let isActive = order?.isActive ?? false
        guard active.exchange(isActive, ordering: .relaxed) != isActive else { return }
        if isActive {
            logger.warning(
                "probes are told to measure nothing",
                metadata: ["reason": "\(order?.reason ?? "none given")"])
        } else {
            logger.notice("probes are told to measure again")
        }
    }
}
