import Foundation
import Glibc
import PrivateServers
import Synchronization
import TestKit

/// Kills and stops processes, and takes their data away.
struct ProcessFaults {
    private let pipeline: Pipeline
    private let log: FaultLog
    private let quiet: QuietTime
    private var random: SeededGenerator
    private var sequence: FaultSequence
    private var restorationCount = 0

    /// Aggregators at a time.
    private static let members = 1...4

    init(
        _ pipeline: Pipeline, _ faults: [ChaosFault], _ log: FaultLog, _ quiet: QuietTime,
        seed: UInt64
    ) {
        self.pipeline = pipeline
        self.log = log
        self.quiet = quiet
        random = SeededGenerator(seed: seed)
        sequence = FaultSequence(faults.filter { !$0.isOfLinks })
    }

    /// Until `deadline`, and until each fault has happened.
    mutating func run(until deadline: ContinuousClock.Instant) throws {
        while ContinuousClock.now < deadline || !sequence.hasDoneAll {
            random.pause(milliseconds: 100...1500)
            guard let fault = sequence.next(&random) else { return }
            try strike(fault)
            sequence.finished()
        }
    }

    private mutating func strike(_ fault: ChaosFault) throws {
        switch fault {
        case .kill: try kill()
        case .natsKill:
            try pipeline.nats.kill()
            random.pause(milliseconds: 0...1000)
            try pipeline.nats.restart()
        case .postgresKill:
            try pipeline.postgres.primary.kill()
            random.pause(milliseconds: 0...1000)
            try pipeline.postgres.primary.restart()
        case .failover: try failOver(splitsBrain: false)
        case .splitBrain: try failOver(splitsBrain: true)
        case .members: try changeMembers()
        case .restore: try quiet.quietly { try restore() }
        case .natsDisk: fillNATS()
        case .postgresDisk: try fillPostgres()
        default: preconditionFailure("\(fault) is of links")
        }
        log.count(fault.rawValue)
    }

    private mutating func kill() throws {
        let programs = pipeline.programs.sorted { "\($0)" < "\($1)" }.shuffled(using: &random)
        let victims = programs.prefix(
            random.chance(60) ? 1 : Int.random(in: 2...3, using: &random))
        for victim in victims { try pipeline.kill(victim) }
        random.pause(milliseconds: 0...1000)
        for victim in victims.shuffled(using: &random) { try pipeline.start(victim) }
    }

    private mutating func changeMembers() throws {
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let present = pipeline.programs.filter { $0 != .ingest }.sorted { "\($0)" < "\($1)" }
            let absent = (0..<Self.members.upperBound).map { Pipeline.Program.aggregator($0) }
                .filter { !present.contains($0) }
            if present.count > Self.members.lowerBound, random.chance(50),
                let leaving = present.randomElement(using: &random)
            {
                if random.chance(60) {
                    try pipeline.stop(leaving)
                } else {
                    try pipeline.remove(leaving)
                }
            } else if let joining = absent.randomElement(using: &random) {
                try pipeline.start(joining)
            }
            random.pause(milliseconds: 100...1500)
        }
    }

    private mutating func failOver(splitsBrain: Bool) throws {
        let pair = pipeline.postgres
        let losing =
            random.chance(75)
            ? Duration.milliseconds(Int.random(in: 100...1500, using: &random)) : nil
        let old = try pair.failOver(losing: losing)
        if losing != nil { log.count("lossy-failover") }
        if splitsBrain {
            // Who has seen the new primary must refuse the old one; before that nobody can know.
            let mustBeRefused = try random.chance(60) && isInUse(pair.primary)
            try pair.bringBack(old)
            // One that remembers nothing, and connections that must choose again.
            if let program = pipeline.programs.filter({ $0 != .ingest }).randomElement(
                using: &random)
            {
                try pipeline.start(program)
            }
            for link in pair.links where random.chance(50) { link.cut() }
            let before = try progress(of: old)
            random.pause(milliseconds: 1000...4000)
            if try progress(of: old) != before {
                log.count("left-behind-writes")
                if mustBeRefused { log.violation("an old primary was written to") }
            } else if mustBeRefused {
                log.count("old-primary-refused")
            }
        }
        try pair.replace(old)
        random.pause(milliseconds: 0...500)
    }

    /// Waits until an aggregator has written to a server.
    private func isInUse(_ server: PostgresServer) throws -> Bool {
        let before = try progress(of: server)
        return try eventually(within: .seconds(10)) { try progress(of: server) != before }
    }

    private func progress(of server: PostgresServer) throws -> [String: [String]] {
        try PostgresPair.table(
            "SELECT partition::text, ARRAY[committed_seq::text, epoch::text] FROM partition_progress",
            on: server)
    }

    // MARK: - The stream's store

    private var store: String { pipeline.streamStore }

    /// Copies the store, goes on for a while, and puts the copy in its place.
    private mutating func restore() throws {
        restorationCount += 1
        let copy = "\(pipeline.folder)/copied-\(restorationCount)"
        let lost = "\(pipeline.folder)/lost-\(restorationCount)"
        try pipeline.nats.stop()
        try FileManager.default.copyItem(atPath: store, toPath: copy)
        try pipeline.nats.restart()
        random.pause(milliseconds: 1000...3000)
        try pipeline.nats.kill()
        let committed = try settledProgress()
        try FileManager.default.moveItem(atPath: store, toPath: lost)
        try FileManager.default.copyItem(atPath: copy, toPath: store)
        log.add(Restoration(lostStore: lost, copiedStore: copy, committed: committed))
        try pipeline.nats.restart()
        random.pause(milliseconds: 1000...3000)
    }

    /// What is committed once nobody has anything left to write.
    private func settledProgress() throws -> [Int: UInt64] {
        var last = try pipeline.committed()
        var since = ContinuousClock.now
        let deadline = ContinuousClock.now + .seconds(20)
        let settledAfter = Duration.seconds(2)
        while ContinuousClock.now < deadline, ContinuousClock.now - since < settledAfter {
            usleep(100_000)
            let now = try pipeline.committed()
            if now != last {
                last = now
                since = .now
            }
        }
        return last
    }

    // MARK: - Full disks

    private mutating func fillNATS() {
        guard let volume = pipeline.natsVolume else { return }
        volume.fill()
        random.pause(milliseconds: 1000...4000)
        volume.free()
        // nats-server 2.9 switches JetStream off when its disk is full, until it is restarted.
        try? pipeline.nats.restart()
    }

    private mutating func fillPostgres() throws {
        let pair = pipeline.postgres
        guard let volume = pair.volume else { return }
        volume.fill()
        random.pause(milliseconds: 1000...4000)
        volume.free()
        if !pair.primary.isRunning { try pair.primary.restart() }
    }
}
