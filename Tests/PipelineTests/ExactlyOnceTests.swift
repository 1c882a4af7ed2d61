import Foundation
import OwnedThreads
import PrivateServers
import TestKit
import Testing

/// `QOE_PIPELINE_SEED` repeats one seed; `QOE_PIPELINE_SECONDS` says for how long faults strike.
private let environment = ProcessInfo.processInfo.environment
private let seeds: [UInt64] =
    environment["QOE_PIPELINE_SEED"].flatMap { UInt64($0) }.map { [$0] } ?? [1]
private let seconds = environment["QOE_PIPELINE_SECONDS"].flatMap { Int($0) } ?? 20

@Suite(.serialized) struct ExactlyOnceTests {
    @Test(arguments: seeds)
    func `what got 202 is counted exactly once, whatever crashes`(seed: UInt64) throws {
        try withTemporaryFolder { folder in
            let failure = Monitor<(any Error)?>(nil)
            // A thread of its own, since it waits.
            let thread = OwnedThread(name: "pipeline") {
                do {
                    let pipeline = try Pipeline(folder: folder)
                    defer { pipeline.stop() }
                    try run(pipeline, seed: seed)
                } catch {
                    failure.update { $0 = error }
                }
            }
            thread.join()
            if let error = failure.withLock({ $0 }) { throw error }
        }
    }
}

private func run(_ pipeline: Pipeline, seed: UInt64) throws {
    let log = OpLog()
    let deadline = ContinuousClock.now + .seconds(seconds)
    let drivers = (0..<3 as Range<UInt64>).map { index in
        OwnedThread(name: "driver \(index)") {
            var driver = Driver(pipeline, log, name: "probe-\(index)", seed: seed * 100 + index)
            driver.run(until: deadline)
        }
    }
    let freezes = Monitor(0)
    let freezer = OwnedThread(name: "freezer") {
        var faults = Faults(pipeline, seed: seed &+ 1_000_000)
        let count = faults.freeze(until: deadline)
        freezes.update { $0 = count }
    }
    var faults = Faults(pipeline, seed: seed)
    let kills = Result { try faults.kill(until: deadline) }
    for driver in drivers { driver.join() }
    freezer.join()

    var last = Driver(pipeline, log, name: "last", seed: seed)
    let isSettled = last.settle()
    let isCaughtUp = eventually(within: .seconds(90)) { pipeline.isCaughtUp() }
    let ops = log.snapshot
    print(
        "seed \(seed): \(ops.accepted.count) events, \(ops.requests) requests, "
            + "\(ops.duplicatesSent) duplicates, \(try kills.get()) kills, "
            + "\(freezes.withLock { $0 }) freezes")
    #expect(isSettled, "seed \(seed): not everything was accepted at last")
    #expect(isCaughtUp, "seed \(seed): the aggregators do not catch up")
    #expect(ops.refusals == [], "seed \(seed)")

    let oracle = Oracle(accepted: ops.accepted)
    let tables = [
        (oracle.minutes, Oracle.minutesQuery), (oracle.sessions, Oracle.sessionsQuery),
        (oracle.gaps, Oracle.gapsQuery),
    ]
    for (expected, query) in tables {
        let found = try pipeline.table(query)
        #expect(differences(expected, found) == [], "seed \(seed): \(query)")
    }
}
