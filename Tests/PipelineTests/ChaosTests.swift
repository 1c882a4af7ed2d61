import Foundation
import OwnedThreads
import PrivateServers
import Synchronization
import TestKit
import Testing

private let environment = ProcessInfo.processInfo.environment

/// `QOE_CHAOS_SEED` repeats a seed, `QOE_CHAOS_SECONDS` says for how long faults strike at least, and
/// `QOE_CHAOS_FAULTS` which: names of ``ChaosFault`` with commas between, or `all`.
private let seed = environment["QOE_CHAOS_SEED"].flatMap { UInt64($0) } ?? 1
private let seconds = environment["QOE_CHAOS_SECONDS"].flatMap { Int($0) } ?? 20

/// What a run of the test suite does without being asked: all that needs no rights and no minutes.
private let usualFaults = ChaosFault.allCases.filter {
    ![.natsDisk, .postgresDisk].contains($0)
}

private func chosenFaults() throws -> [ChaosFault] {
    guard let text = environment["QOE_CHAOS_FAULTS"], !text.isEmpty else { return usualFaults }
    let faults =
        text == "all"
        ? ChaosFault.allCases
        : try text.split(separator: ",").map {
            try #require(ChaosFault(rawValue: String($0)), "QOE_CHAOS_FAULTS: no fault \($0)")
        }
    return faults.filter { fault in
        guard let obstacle = fault.obstacle else { return true }
        print("\(fault.rawValue) is left out: \(obstacle)")
        return false
    }
}

@Suite(.serialized) struct ChaosTests {
    @Test func `what got 202 is counted exactly once, whatever fails`() async throws {
        let faults = try chosenFaults()
        try await withTemporaryFolder { folder in
            try await onOwnThread("chaos") { try ChaosRun(folder: folder, faults: faults).run() }
        }
    }
}

/// One run: load, faults, peace, and the comparison.
private struct ChaosRun {
    private let pipeline: Pipeline
    private let faults: [ChaosFault]
    private let ops = OpLog()
    private let log = FaultLog()

    init(folder: String, faults: [ChaosFault]) throws {
        self.faults = faults
        var settings = Pipeline.Settings()
        settings.hasReplica = faults.contains(.failover) || faults.contains(.splitBrain)
        settings.isSmall = faults.contains(.natsDisk) || faults.contains(.postgresDisk)
        pipeline = try Pipeline(folder: folder, settings)
    }

    func run() throws {
        defer { pipeline.stop() }
        let start = ContinuousClock.now
        let struck = strikeUnderLoad()
        try makePeace()
        try struck.get()

        var last = Driver(pipeline, ops, name: "last", seed: seed)
        let isSettled = last.settle()
        // Each restart reads the identifiers of the last 15 minutes again: a long run leaves much to read.
        let isCaughtUp = eventually(within: .seconds(90 + seconds)) { pipeline.isCaughtUp() }
        let faultLog = log.snapshot
        let state = ops.snapshot
        var verdict = try judge(state, faultLog)
        if !faultLog.restorations.isEmpty {
            // A restore may still be unnoticed when the stream is read to its end.
            _ = try eventually(within: .seconds(30)) {
                if verdict.differences.isEmpty { return true }
                sleep(2)
                verdict = try judge(state, faultLog)
                return verdict.differences.isEmpty
            }
        }
        let isExact =
            verdict.differences.isEmpty && isSettled && isCaughtUp && state.refusals.isEmpty
            && faultLog.violations.isEmpty
        let counts = faultLog.counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
        print(
            "chaos seed \(seed): \(state.accepted.count) events, \(state.requests) requests, "
                + "\(state.duplicatesSent) duplicates sent, \(verdict.repeated) in the stream, "
                + "\(verdict.messages) messages; \(counts.joined(separator: ", ")); "
                + "\((ContinuousClock.now - start).components.seconds) s: "
                + (isExact ? "exact" : "NOT EXACT"))
        if isExact {
            removeFolder(keptFolder)
        } else {
            pipeline.keepLogs(in: keptFolder)
        }
        let again =
            "repeat with QOE_CHAOS_SEED=\(seed) QOE_CHAOS_SECONDS=\(seconds) "
            + "QOE_CHAOS_FAULTS=\(faults.map(\.rawValue).joined(separator: ",")) "
            + "swift test --skip-build --filter ChaosTests"
        #expect(isSettled, "not everything was accepted at last; \(again)")
        #expect(isCaughtUp, "the aggregators do not catch up; \(again)")
        #expect(state.refusals == [], "\(again)")
        #expect(faultLog.violations == [], "\(again)")
        #expect(verdict.differences == [], "\(again)")
    }

    /// Load from some threads while faults strike from two; returns when all of them have ended.
    private func strikeUnderLoad() -> Result<Void, any Error> {
        let isOver = Monitor(false)
        let deadline = ContinuousClock.now + .seconds(seconds)
        let quiet = QuietTime()
        let load = (0..<3 as Range<UInt64>).map { [pipeline, ops] index in
            OwnedThread(name: "driver \(index)") {
                var driver = Driver(pipeline, ops, name: "probe-\(index)", seed: seed * 100 + index)
                driver.run { isOver.withLock { !$0 } }
            }
        }
        let garbage = OwnedThread(name: "garbage") { [pipeline, log] in
            var garbage = Garbage(pipeline.connector, seed: seed &+ 7)
            var random = SeededGenerator(seed: seed &+ 8)
            while isOver.withLock({ !$0 }) {
                random.pause(milliseconds: 200...2000)
                if garbage.publish() { log.count("garbage") }
            }
        }
        let links = OwnedThread(name: "link faults") { [pipeline, faults, log] in
            var faults = LinkFaults(pipeline, faults, log, quiet, seed: seed &+ 1_000_000)
            faults.run(until: deadline)
        }
        var faults = ProcessFaults(pipeline, faults, log, quiet, seed: seed)
        let struck = Result { try faults.run(until: deadline) }
        links.join()
        usleep(UInt32(max(.zero, deadline - .now) / .microseconds(1)))
        isOver.update { $0 = true }
        for thread in load { thread.join() }
        garbage.join()
        return struck
    }

    /// Ends every fault that lasts.
    private func makePeace() throws {
        for link in pipeline.links { link.set(.forward) }
        for program in pipeline.programs where pipeline.process(program)?.exit != nil {
            log.violation("\(program) ended by itself")
            try pipeline.start(program)
        }
    }

    private var keptFolder: String {
        "\(FileManager.default.temporaryDirectory.path)/qoe-chaos-\(seed)"
    }

    private func judge(_ state: OpLog.State, _ faultLog: FaultLog.State) throws -> Verdict {
        try Verdict(pipeline, state, faultLog.restorations, keep: keptFolder)
    }
}
