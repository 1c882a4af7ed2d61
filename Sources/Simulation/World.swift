internal import AggregatorCore
internal import CoreMetrics
internal import LogDecoding
internal import Store
internal import Telemetry
internal import TestKit
internal import Windowing

/// Everything in one run: probes, ingest, the broker, the database, aggregators, and what strikes them.
///
/// One thread; every choice comes from one generator, so a seed is a run.
final class World {
    /// The calls of a worker into the log and the tables: where the scheduler may strike.
    enum Call: String {
        case extent, anchor, read
        case share, acquire, renew, release, reposition, begin, load, flush

        var isOfLog: Bool { self == .extent || self == .anchor || self == .read }
    }

    /// What strikes a call.
    enum Strike: String {
        case crashBefore, crashAfter, lostBefore, lostAfter, freezeBefore, freezeAfter
    }

    static let leaseMilliseconds: Int64 = 10_000
    static let flushMilliseconds: Int64 = 1000
    /// A frozen process runs others, which may be frozen in turn; deeper tells nothing new.
    private static let freezeDepthMax = 2

    let mutation: Mutation?
    let partitionCount: Int
    let partitioning: Partitioning
    let decoder: MessageDecoder
    let metrics = AggregatorMetrics(factory: NOOPMetricsHandler.instance)
    var random: SeededGenerator
    var mix: FaultMix
    /// Whether the broker's clock jumps: then only numbered events are counted exactly.
    let isBrokerClockWild: Bool
    var coverage = Coverage()

    let time = SimulatedTime()
    let broker: SimulatedBroker
    let database: SimulatedDatabase
    let databaseClock: ComponentClock
    var instances: [SimulatedInstance] = []
    /// The dead: a turn of theirs may still be under way.
    private var graveyard: [SimulatedInstance] = []
    private var restarts: [(id: String, at: Int64)] = []
    private var instanceCount = 0
    private let workersPerInstance: Int
    private let limits: PartitionState.Limits
    private var freezeDepth = 0
    var hasFaults = true

    // What is sent; see World+Traffic.
    var events: [SimulatedEvent] = []
    var copies: [[StoredMessage]] = []
    var probes: [Probe] = []
    var outbox: [[Int]]
    var later: [(event: Int, at: Int64)] = []
    var ghosts: [(draft: MessageDraft, at: Int64)] = []
    var blockNumber: UInt64 = 0

    // What must hold; see World+Checks.
    var oracle: Oracle
    var commits: [CommitRecord] = []
    var committers: [UniqueID: String] = [:]
    /// By sequence, how often counting a message alone began.
    var beginCounts: [UInt64: Int] = [:]
    /// Something happened of which no trace is left; see ``Simulation``.
    var isBeyondPromise = false
    /// Messages that were removed unread and came back with an older copy of the stream.
    var broughtBack: Set<Int> = []
    /// Messages whose removal by hand leaves nothing to notice it by; see ``Simulation``.
    var unnoticeable: Set<Int> = []
    /// Events without a number are not exact any more; see ``Simulation``.
    var losesIdentifiers = false
    private(set) var violation: String?

    /// How many of the last steps are kept to be told; none at 0.
    private let traceLength: Int
    private(set) var trace: [String] = []

    init(seed: UInt64, mutation: Mutation?, traceLength: Int) throws {
        self.mutation = mutation
        self.traceLength = traceLength
        var random = SeededGenerator(seed: seed)
        mix = FaultMix(&random)
        isBrokerClockWild = random.chance(8)
        partitionCount = 2 + Int(random.next() % 3)
        guard let partitioning = Partitioning(count: partitionCount) else {
            throw SimulationError.invalidPartitionCount
        }
        self.partitioning = partitioning
        decoder = MessageDecoder(partitioning: partitioning)
        workersPerInstance = 1 + Int(random.next() % 2)
        limits = PartitionState.Limits(
            cellCountMax: random.chance(30) ? 4 : 25_000,
            dirtyRowCountMax: random.chance(30) ? 6 : 20_000,
            deadLetterCountMax: random.chance(30) ? 1 : 1000)
        broker = SimulatedBroker(createdNanoseconds: SimulatedTime.start * 1_000_000)
        database = SimulatedDatabase(partitionCount: partitionCount)
        databaseClock = ComponentClock(time)
        outbox = Array(repeating: [], count: partitionCount)
        oracle = Oracle(partitionCount: partitionCount)
        self.random = random
        makeProbes()
        for index in 0..<Int(pick(1...4)) { start("aggregator-\(index)") }
    }

    // MARK: Chance

    func pick<Value: FixedWidthInteger>(_ range: ClosedRange<Value>) -> Value {
        .random(in: range, using: &random)
    }
    func chance(_ percent: Int) -> Bool { random.chance(percent) }
    func rare(_ perMille: UInt64) -> Bool { random.next() % 1000 < perMille }

    // MARK: Telling

    func note(_ text: @autoclosure () -> String) {
        guard traceLength > 0 else { return }
        if trace.count == traceLength { trace.removeFirst() }
        trace.append("\(time.milliseconds - SimulatedTime.start) ms: \(text())")
    }

    func fail(_ text: @autoclosure () -> String) {
        guard violation == nil else { return }
        violation = text()
        note("VIOLATION")
    }

    // MARK: Processes

    func start(_ id: String) {
        let clock = ComponentClock(time)
        if chance(20) { clock.wallOffset = pick(-3_600_000...3_600_000) }
        let instance = SimulatedInstance(id: id, clock: clock)
        instanceCount += 1
        for index in 0..<workersPerInstance {
            let partitions = (0..<partitionCount).filter { $0 % workersPerInstance == index }
            instance.workers.append(
                SimulatedWorker(
                    name: "\(id)#\(instanceCount).\(index)", of: instance, in: self,
                    partitions: partitions, limits: limits))
        }
        instances.append(instance)
        note("\(id)#\(instanceCount) starts")
    }

    /// The process is gone, wherever it is.
    func crash(_ instance: SimulatedInstance) {
        guard instance.isAlive else { return }
        note("\(instance.id) dies")
        coverage.crashes += 1
        bury(instance)
    }

    private func bury(_ instance: SimulatedInstance) {
        instance.isAlive = false
        instances.removeAll { $0 === instance }
        graveyard.append(instance)
        let id = chance(70) ? instance.id : "aggregator-\(instanceCount)x"
        restarts.append((id, time.milliseconds + pick(100...8000)))
    }

    /// A shutdown in order.
    private func stop(_ instance: SimulatedInstance) {
        guard instance.freezeDepth == 0, !instance.workers.contains(where: \.host.isInTurn) else {
            return
        }
        note("\(instance.id) stops")
        coverage.stops += 1
        for worker in instance.workers where instance.isAlive { worker.finish() }
        if instance.isAlive { bury(instance) }
    }

    func restartDue(now isNow: Bool = false) {
        let due = restarts.filter { isNow || $0.at <= time.milliseconds }
        restarts.removeAll { isNow || $0.at <= time.milliseconds }
        for restart in due { start(restart.id) }
    }

    private var readyWorkers: [SimulatedWorker] {
        instances.filter { $0.freezeDepth == 0 }.flatMap(\.workers).filter { !$0.host.isInTurn }
    }

    func turnSomebody() {
        let ready = readyWorkers
        guard !ready.isEmpty else { return }
        ready[Int(random.next() % UInt64(ready.count))].turn()
    }

    func turnEverybody() {
        for worker in readyWorkers where worker.host.isAlive && violation == nil { worker.turn() }
    }

    // MARK: Strikes

    /// What strikes this call, if anything does.
    func strike(_ host: SimulatedHost, _ call: Call) -> Strike? {
        guard hasFaults, violation == nil else { return nil }
        var strike: Strike?
        let roll = random.next() % 1000
        let lost = call.isOfLog ? mix.readError : mix.connectionLost
        if roll < mix.crash {
            strike = chance(50) ? .crashBefore : .crashAfter
        } else if roll < mix.crash + mix.freeze {
            guard freezeDepth < Self.freezeDepthMax else { return nil }
            strike = chance(50) ? .freezeBefore : .freezeAfter
        } else if roll < mix.crash + mix.freeze + lost {
            strike = chance(50) ? .lostBefore : .lostAfter
        }
        if let strike { note("\(host.name): \(call.rawValue) struck by \(strike.rawValue)") }
        return strike
    }

    /// A call takes long, alone or with its whole process; others go on meanwhile.
    func freeze(_ host: SimulatedHost) {
        freezeDepth += 1
        let isWhole = chance(60)
        if isWhole { host.instance.freezeDepth += 1 }
        let length = pick(100...3 * Self.leaseMilliseconds)
        coverage.freezes += 1
        if length > Self.leaseMilliseconds { coverage.freezesBeyondLease += 1 }
        let end = time.milliseconds + length
        let stepCount = 4 + Int(random.next() % 20)
        for _ in 0..<stepCount where violation == nil {
            time.milliseconds += length / Int64(stepCount)
            step()
        }
        time.milliseconds = max(time.milliseconds, end)
        if isWhole { host.instance.freezeDepth -= 1 }
        freezeDepth -= 1
        note("\(host.name) goes on")
    }

    // MARK: The scheduler

    /// One step of somebody.
    func step() {
        guard violation == nil else { return }
        time.milliseconds += pick(0...300)
        restartDue()
        if hasFaults, strikeBetween() { return }
        switch random.next() % 100 {
        case 0..<20: post()
        case 20..<45: publishSomething()
        case 45..<55: database.replicate(Int(pick(0...20)))
        default: turnSomebody()
        }
    }

    private func strikeBetween() -> Bool {
        if rare(20) { broker.sync() }
        if rare(10) { broker.backUp() }
        if broker.isDown, rare(300) { broker.isDown = false }
        if database.isDown, rare(300) { database.isDown = false }
        if rare(mix.crashBetween), let victim = somebody() {
            if chance(80) { crash(victim) } else { stop(victim) }
        } else if rare(mix.powerFailure) {
            failPower()
        } else if rare(mix.restore) {
            restoreStream()
        } else if rare(mix.recreation) {
            recreateStream()
        } else if rare(mix.purge) {
            purgeTooMuch()
        } else if rare(mix.trim) {
            trim()
        } else if rare(mix.failover) {
            failOver()
        } else if rare(mix.databaseRestart) {
            note("the database restarts")
            coverage.databaseRestarts += 1
            database.restart()
            database.isDown = chance(50)
        } else if rare(mix.clockJump) {
            jumpClock()
        } else if rare(mix.readerLost), let victim = somebody() {
            for worker in victim.workers { worker.host.readerEpoch += 1 << 32 }
        } else if rare(mix.idle) {
            let minutes: Int64 = chance(50) ? pick(1...20) : pick(60...180)
            note("nothing happens for \(minutes) minutes")
            time.milliseconds += minutes * 60_000
        } else {
            return false
        }
        return true
    }

    private func somebody() -> SimulatedInstance? {
        instances.isEmpty ? nil : instances[Int(random.next() % UInt64(instances.count))]
    }

    private func jumpClock() {
        coverage.clockJumps += 1
        let jumps: [Int64] = [-86_400_000, -3_600_000, 3_600_000, 86_400_000]
        let jump = jumps[Int(random.next() % 4)]
        if isBrokerClockWild, chance(50) {
            broker.clockOffset = [0, 600_000, 3_600_000, 86_400_000][Int(random.next() % 4)]
        } else if chance(50) {
            somebody()?.clock.wallOffset += jump
        } else {
            // Leases given by a clock that then goes back would last until it is there again.
            databaseClock.wallOffset += abs(jump)
        }
    }

    /// Ends everything that goes wrong, and waits until all is counted.
    func heal() {
        hasFaults = false
        broker.isDown = false
        database.isDown = false
        note("everything is healed")
        let began = time.milliseconds
        // What was removed from a partition with nothing left to read is noticed at the next look at the whole log, by
        // its next owner if it changes hands meanwhile.
        var lastUnconverged = began
        while violation == nil {
            publishRest()
            restartDue()
            turnEverybody()
            if !isConverged { lastUnconverged = time.milliseconds }
            if time.milliseconds - lastUnconverged > 3 * Self.leaseMilliseconds { break }
            time.milliseconds += 500
            if time.milliseconds - began > Simulation.convergenceMilliseconds {
                fail("wedged: \(whatIsLeft)")
            }
        }
        coverage.healedRuns += 1
        coverage.convergenceMilliseconds += Int(time.milliseconds - began)
    }
}

enum SimulationError: Error {
    case invalidPartitionCount
}
