import Bus
import Failpoints
import Foundation
import NATSClient
import OwnedThreads
import PrivateServers
import Synchronization
import TestKit
import Testing

private let environment = ProcessInfo.processInfo.environment
/// `QOE_CRASHPOINT_SEED` is the first seed, `QOE_CRASHPOINT_SEEDS` how many there are, and `QOE_CRASHPOINTS` names
/// points, with commas between, when not all are wanted.
private let firstSeed = environment["QOE_CRASHPOINT_SEED"].flatMap { UInt64($0) } ?? 1
private let seedCount = environment["QOE_CRASHPOINT_SEEDS"].flatMap { UInt64($0) } ?? 1
private let chosenPoints = environment["QOE_CRASHPOINTS"].map { text in
    text.split(separator: ",").compactMap { Failpoint(rawValue: String($0)) }
}

@Suite(.serialized) struct CrashPointTests {
    @Test(arguments: firstSeed..<firstSeed + seedCount)
    func `a program killed at any named point loses and repeats nothing`(seed: UInt64) async throws
    {
        try await withTemporaryFolder { folder in
            try await onOwnThread("crash points") {
                var run = try CrashPointRun(folder: folder, seed: seed)
                try run.run()
            }
        }
    }
}

/// What makes a program pass a point, beside load and its own start.
private enum Provocation {
    case nothing, terminate, garbage, cutDatabase, zombie, restore, fullStream
    /// Nobody has died lately, or messages are counted one by one, on another way.
    case calm
}

extension Failpoint {
    fileprivate var program: Pipeline.Program {
        rawValue.hasPrefix("ingest.") ? .ingest : .aggregator(0)
    }

    fileprivate var provocation: Provocation {
        switch self {
        case .ingestDraining, .aggregatorStopping, .aggregatorBeforeRelease, .aggregatorReleased:
            .terminate
        case .aggregatorSetAside, .aggregatorDeadLetterPublished: .garbage
        case .aggregatorDropped: .cutDatabase
        case .aggregatorReplayed: .calm
        case .aggregatorFenced: .zombie
        case .aggregatorBeforeReposition, .aggregatorRepositioned: .restore
        case .aggregatorTrimRecorded, .aggregatorTrimmed: .fullStream
        default: .nothing
        }
    }

    /// How many passes there surely are.
    fileprivate var passes: ClosedRange<Int> {
        switch self {
        case .ingestDraining, .aggregatorStopping, .aggregatorFenced, .aggregatorDropped,
            .aggregatorTrimRecorded, .aggregatorTrimmed, .aggregatorBeforeReposition,
            .aggregatorRepositioned:
            1...1
        // Two workers, and one for heartbeats.
        case .transactionConnected: 1...3
        default: 1...4
        }
    }

    /// Changes the stream itself, so that it tells no longer the whole story.
    fileprivate var changesStream: Bool {
        switch provocation {
        case .restore, .fullStream: true
        default: false
        }
    }
}

/// One pipeline, and every point in turn.
private struct CrashPointRun {
    private let pipeline: Pipeline
    private let seed: UInt64
    private var random: SeededGenerator
    private let ops = OpLog()
    private let load: Load
    private var reached = 0
    private var unreached: [String] = []

    /// How long a point may take to be passed, on a machine that is busy elsewhere.
    private static let reachLimit = Duration.seconds(60)
    /// Between provocations at first; then ever longer, so that a slow program gets to where they hurt.
    private static let provocationPause = Duration.milliseconds(150)

    init(folder: String, seed: UInt64) throws {
        self.seed = seed
        random = SeededGenerator(seed: seed)
        var settings = Pipeline.Settings()
        settings.aggregatorCount = 1
        settings.hasReplica = false
        settings.aggregatorArguments = ["--trim-interval", "100ms"]
        pipeline = try Pipeline(folder: folder, settings)
        load = Load(pipeline, ops, seed: seed)
    }

    mutating func run() throws {
        defer {
            load.stop()
            pipeline.stop()
        }
        let start = ContinuousClock.now
        let points = (chosenPoints ?? Failpoint.allCases).shuffled(using: &random)
        for point in points where !point.changesStream { try visit(point) }
        try settle()
        let whole = try Verdict(pipeline, ops.snapshot, [], keep: keptFolder)
        load.resume()
        for point in points where point.changesStream { try visit(point) }
        try settle()
        let final = try Verdict(
            pipeline, ops.snapshot, [], keep: keptFolder, isWholeStream: false)
        let state = ops.snapshot
        let differences = whole.differences + final.differences
        print(
            "crash points seed \(seed): \(reached) points of \(points.count), "
                + "\(state.accepted.count) events, \(state.requests) requests, "
                + "\(state.duplicatesSent) duplicates sent, "
                + "\((ContinuousClock.now - start).components.seconds) s: "
                + (differences.isEmpty ? "exact" : "NOT EXACT")
                + unreached.map { "; \($0) not reached" }.joined())
        if differences.isEmpty && unreached.isEmpty {
            removeFolder(keptFolder)
        } else {
            pipeline.keepLogs(in: keptFolder)
        }
        let again = "repeat with make crashpoints SEED=\(seed)"
        #expect(differences == [], "\(again)")
        #expect(state.refusals == [], "\(again)")
        #expect(unreached == [], "\(again)")
    }

    private var keptFolder: String {
        "\(FileManager.default.temporaryDirectory.path)/qoe-crashpoints-\(seed)"
    }

    /// Has the point's program die there, and starts it again.
    private mutating func visit(_ point: Failpoint) throws {
        let pass = Int.random(in: point.passes, using: &random)
        let program = point.program
        try prepare(point.provocation)
        try pipeline.start(program, failpoint: "\(point.rawValue)#\(pass)")
        guard let process = pipeline.process(program) else { return }
        try provoke(point.provocation, process)
        if process.exit == .signal(SIGKILL) {
            reached += 1
        } else {
            unreached.append("\(point.rawValue)#\(pass)")
        }
        if case .fullStream = point.provocation { try limitStream(isFull: false) }
        try pipeline.start(program)
        if case .zombie = point.provocation { try pipeline.stop(.aggregator(1)) }
        if case .restore = point.provocation { load.resume() }
        if program != .ingest { awaitAcquittal() }
    }

    /// Lets the program count the messages that its deaths have made suspect: a message that many processes begin to
    /// count and none ends is set aside, whoever was to blame.
    private func awaitAcquittal() {
        _ = eventually(within: .seconds(3)) { (try? pipeline.hasBegunMessages()) == false }
    }

    /// What must be so before the program starts.
    private mutating func prepare(_ provocation: Provocation) throws {
        switch provocation {
        case .zombie:
            try pipeline.start(.aggregator(1))
        case .restore:
            try settle()
            // All is counted, and nothing without a number comes again, so that the op log alone tells what
            // the tables are.
            let copy = "\(pipeline.folder)/copy-\(UInt64.random(in: .min ... .max, using: &random))"
            try pipeline.nats.stop()
            try FileManager.default.copyItem(atPath: pipeline.streamStore, toPath: copy)
            try pipeline.nats.restart()
            load.resume()
            random.pause(milliseconds: 1000...1500)
            try settle()
            ops.repeatNoUnnumbered()
            // Only the one with the point armed shall notice.
            try pipeline.kill(.aggregator(0))
            try pipeline.nats.kill()
            try FileManager.default.removeItem(atPath: pipeline.streamStore)
            try FileManager.default.moveItem(atPath: copy, toPath: pipeline.streamStore)
            try pipeline.nats.restart()
        case .fullStream:
            try pipeline.kill(.aggregator(0))
        case .calm:
            try settle()
            load.resume()
        case .nothing, .terminate, .garbage, .cutDatabase:
            break
        }
    }

    private mutating func provoke(_ provocation: Provocation, _ process: PrivateProcess) throws {
        var garbage = Garbage(pipeline.connector, seed: random.next())
        switch provocation {
        case .terminate:
            // Once it has something to give back.
            random.pause(milliseconds: 1200...1800)
            process.signal(SIGTERM)
        case .zombie:
            random.pause(milliseconds: 3000...3500)
            process.pause()
            random.pause(milliseconds: 4000...4500)
            process.resume()
        default: break
        }
        let deadline = ContinuousClock.now + Self.reachLimit
        var provocations = 0
        while process.exit == nil, ContinuousClock.now < deadline {
            provocations += 1
            switch provocation {
            case .garbage: garbage.publish()
            // Again and again: ingest sets the limit anew when it has connected to NATS.
            case .fullStream: try limitStream(isFull: true)
            case .cutDatabase: for link in pipeline.postgres.links { link.cut() }
            default: break
            }
            _ = process.waitForExit(within: Self.provocationPause * provocations)
        }
    }

    /// Has the stream be more than half full, or nearly empty.
    private func limitStream(isFull: Bool) throws {
        let stream = JetStream(try pipeline.connector.waitUntilConnected(within: .seconds(10)))
        let found = try stream.stream(named: BusStream.events)
        let byteCount = Int64(clamping: found.byteCount)
        let limit = isFull ? max(byteCount * 19 / 10, byteCount + (512 << 10)) : 4 << 30
        // nats-server removes the oldest messages of a stream that holds more than a limit set anew, so it must
        // not be close.
        guard !isFull || found.configuration.maxBytes > 2 * limit else { return }
        _ = try stream.setMaxBytes(limit, ofStream: BusStream.events)
    }

    /// Stops the load, and waits until everything is accepted and counted.
    private func settle() throws {
        load.pause()
        var last = Driver(pipeline, ops, name: "last", seed: seed)
        let isSettled = last.settle()
        try #require(isSettled, "not everything was accepted at last")
        let isCaughtUp = eventually(within: .seconds(60)) { pipeline.isCaughtUp() }
        try #require(isCaughtUp, "the aggregator does not catch up")
    }
}

/// Drivers that can pause.
private final class Load: Sendable {
    private enum Order { case run, pause, stop }

    private struct State {
        var order = Order.run
        var paused = 0
    }

    private let state: Monitor<State>
    private let threads: Mutex<[OwnedThread]>

    init(_ pipeline: Pipeline, _ ops: OpLog, seed: UInt64) {
        let state = Monitor(State())
        self.state = state
        threads = Mutex(
            (0..<2 as Range<UInt64>).map { index in
                OwnedThread(name: "driver \(index)") {
                    var driver = Driver(
                        pipeline, ops, name: "probe-\(index)", seed: seed * 100 + index)
                    driver.longestPauseMicroseconds = 80_000
                    // What is before the first event without a number can be trimmed at once.
                    driver.numbersAllUntil = 1000
                    while true {
                        driver.run { state.withLock { $0.order == .run } }
                        state.update { $0.paused += 1 }
                        let order = state.wait(until: nil) { $0.order == .pause ? nil : $0.order }
                        state.update { $0.paused -= 1 }
                        if order == .stop { return }
                    }
                }
            })
    }

    /// Returns when no request is on its way.
    func pause() {
        state.update { $0.order = .pause }
        _ = state.wait(until: nil) { $0.paused == 2 ? true : nil }
    }

    func resume() { state.update { $0.order = .run } }

    func stop() {
        state.update { $0.order = .stop }
        for thread in threads.withLock({ $0 }) { thread.join() }
    }
}
