internal import AggregatorCore
internal import CoreMetrics
internal import Logging
internal import Telemetry
internal import TestKit
internal import Windowing

/// A process of the aggregator.
final class SimulatedInstance {
    let id: String
    let clock: ComponentClock
    var isAlive = true
    /// Calls within which the whole process stands still.
    var freezeDepth = 0
    var workers: [SimulatedWorker] = []

    init(id: String, clock: ComponentClock) {
        self.id = id
        self.clock = clock
    }
}

/// A source of nonces.
///
/// Unchecked: a run is one thread, and only that thread holds it.
private final class NonceSource: @unchecked Sendable {
    private var random: SeededGenerator

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
    }

    func next() -> UniqueID { UniqueID.random(using: &random) }
}

/// What the doubles around a worker know of it.
final class SimulatedHost {
    let name: String
    unowned let instance: SimulatedInstance
    /// Counts what ended its reading alone.
    var readerEpoch = 0
    var isInTurn = false

    var isAlive: Bool { instance.isAlive }

    init(name: String, instance: SimulatedInstance) {
        self.name = name
        self.instance = instance
    }
}

/// One of a process's workers: the real one, on a log and tables of ours.
final class SimulatedWorker {
    let host: SimulatedHost
    private let worker: PartitionWorker<SimulatedLog, SimulatedTables>

    init(
        name: String, of instance: SimulatedInstance, in world: World, partitions: [Int],
        limits: PartitionState.Limits
    ) {
        host = SimulatedHost(name: name, instance: instance)
        let log = SimulatedLog(world: world, host: host)
        let clock = instance.clock
        let nonces = NonceSource(seed: world.pick(0...UInt64.max))
        worker = PartitionWorker(
            name: name, partitions: partitions, partitionCount: world.partitionCount, log: log,
            tables: SimulatedTables(world: world, host: host, log: log), decoder: world.decoder,
            environment: .init(
                instant: { clock.instant }, unixMilliseconds: { clock.wallMilliseconds },
                makeNonce: { nonces.next() }),
            timing: .init(
                flushInterval: .milliseconds(World.flushMilliseconds),
                lease: .milliseconds(World.leaseMilliseconds)),
            limits: limits, metrics: world.metrics,
            logger: Logger(label: "simulation", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    func turn() {
        host.isInTurn = true
        worker.turn(until: host.instance.clock.instant)
        host.isInTurn = false
    }

    /// Ends in order, as after SIGTERM.
    func finish() {
        host.isInTurn = true
        worker.finish()
        host.isInTurn = false
    }
}
