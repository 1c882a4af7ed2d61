import Foundation
import Glibc
import PrivateServers
import ProbeCore
import TestKit
import Testing

/// How long a probe is offline, and how often it dies.
struct OfflinePlan {
    let seed: UInt64
    /// Moments of the time offline at which the probe lives, in equal distances.
    var visits = 13
    var livesPerVisit = 1
    var lifeMilliseconds: ClosedRange<UInt32> = 700...1600
    var onlineSeconds = 12
    /// Of the least size, which does not hold what is measured.
    var hasSmallSpool = false

    /// The time offline; where the machine was booted later, less.
    static let spanSeconds: Int64 = {
        let wanted: Int64 = 7200
        // The clocks since boot cannot be moved behind the boot.
        let spare: Int64 = 60
        var uptime = timespec()
        clock_gettime(CLOCK_BOOTTIME, &uptime)
        let possible = max(0, Int64(uptime.tv_sec) - spare)
        if possible < wanted {
            print("offline for \(possible) s only: the machine was booted \(uptime.tv_sec) s ago")
        }
        return min(wanted, possible)
    }()
}

/// A probe is offline for hours and dies again and again; then the way is open, mostly.
struct OfflineRun {
    private let plan: OfflinePlan
    private var random: SeededGenerator
    private let pipeline: Pipeline
    private let door: IngestDoor
    private let measured: MeasuredTargets
    private let targets: [String]
    /// Where nobody listens.
    private let deadURL: String
    private let probe: TravellingProbe
    private var evidence = OfflineVerdict.Evidence()
    private var ownExits: [String] = []

    /// How long the last of a spool may take, with all backoffs.
    private static let settleLimit = Duration.seconds(180)
    /// How long a small spool may take to overflow.
    private static let overflowLimit = Duration.seconds(120)

    init(folder: String, _ plan: OfflinePlan) throws {
        self.plan = plan
        random = SeededGenerator(seed: plan.seed)
        var settings = Pipeline.Settings()
        settings.aggregatorCount = 1
        settings.hasReplica = false
        pipeline = try Pipeline(folder: folder, settings)
        door = try IngestDoor(.resetting, seed: random.next())
        measured = try MeasuredTargets(folder: folder)
        deadURL = "http://127.0.0.1:\(try freeLoopbackPort())"
        targets = measured.texts(httpCount: plan.hasSmallSpool ? 8 : 3)
        var arguments = [
            "--drain-events-per-second", random.chance(50) ? "200" : "5000",
            "--drain-order", random.chance(50) ? "oldest-first" : "newest-first",
        ]
        if plan.hasSmallSpool {
            let long = String(repeating: "a", count: 120)
            arguments += [
                "--spool-max-bytes", "1MiB", "--isp", long, "--region", long,
                "--network-type", long,
            ]
        }
        probe = try TravellingProbe(folder: folder, token: pipeline.token, arguments: arguments)
    }

    mutating func run() throws {
        defer {
            try? probe.kill()
            door.stop()
            measured.stop()
            pipeline.stop()
        }
        let start = ContinuousClock.now
        try beOffline()
        try beOnline()
        let isEmpty = try settle()
        let isCaughtUp = eventually(within: .seconds(90)) { pipeline.isCaughtUp() }
        evidence.lives = probe.lives
        evidence.dropped = SpoolCensus.ledger(in: probe.stateFolder)
        evidence.trueOffset = Self.trueOffset()
        let verdict = OfflineVerdict(
            try OfflineTables(pipeline.postgres, client: TravellingProbe.client), evidence)
        let isExact =
            verdict.differences.isEmpty && isEmpty && isCaughtUp && ownExits.isEmpty
            && (verdict.dropped > 0) == plan.hasSmallSpool
        print(summary(verdict, start) + (isExact ? "exact" : "NOT EXACT"))
        if isExact { removeFolder(keptFolder) } else { keep() }
        let again = "repeat with make offline SEED=\(plan.seed) MINUTES=1; see \(keptFolder)"
        #expect(isEmpty, "events wait in the spool at last; \(again)")
        #expect(isCaughtUp, "the aggregator does not catch up; \(again)")
        #expect(ownExits == [], "\(again)")
        #expect(verdict.counted > 0, "nothing was measured; \(again)")
        #expect((verdict.dropped > 0) == plan.hasSmallSpool, "\(again)")
        #expect(verdict.differences == [], "\(again)")
    }

    private func summary(_ verdict: OfflineVerdict, _ start: ContinuousClock.Instant) -> String {
        let posts = door.postCounts
        let fates = door.counts.sorted { $0.key.rawValue < $1.key.rawValue }
            .map { "\($0.value) \($0.key.rawValue) (posts of events: \(posts[$0.key] ?? 0))" }
            .joined(separator: ", ")
        return "offline seed \(plan.seed)\(plan.hasSmallSpool ? " with a small spool" : ""): "
            + "\(OfflinePlan.spanSeconds) s offline, \(probe.lives.count) lives, "
            + "\(probe.lives.count - 1) kills, \(probe.wallSteps) wall steps, "
            + "\(verdict.counted) events counted of \(evidence.spooled.count) seen in the spool, "
            + "\(verdict.dropped) dropped, \(verdict.repeated) repetitions; requests: \(fates); "
            + "\((ContinuousClock.now - start).components.seconds) s: "
    }

    private var keptFolder: String {
        let form = plan.hasSmallSpool ? "-small" : ""
        return "\(FileManager.default.temporaryDirectory.path)/qoe-offline-\(plan.seed)\(form)"
    }

    private func keep() {
        let manager = FileManager.default
        try? manager.removeItem(atPath: keptFolder)
        try? manager.createDirectory(atPath: keptFolder, withIntermediateDirectories: true)
        pipeline.keepLogs(in: keptFolder)
        try? manager.copyItem(atPath: probe.stateFolder, toPath: "\(keptFolder)/state")
    }

    // MARK: - Offline

    private mutating func beOffline() throws {
        for visit in 0..<plan.visits {
            let left = Int64(plan.visits - 1 - visit)
            let secondsAgo = OfflinePlan.spanSeconds * left / Int64(max(1, plan.visits - 1))
            for _ in 0..<plan.livesPerVisit { try liveOffline(secondsAgo: secondsAgo) }
        }
        // A busy machine measures less.
        let deadline = ContinuousClock.now + Self.overflowLimit
        while plan.hasSmallSpool, SpoolCensus.ledger(in: probe.stateFolder).total == 0,
            ContinuousClock.now < deadline
        {
            try liveOffline(secondsAgo: 0)
        }
        evidence.spooledOffline = evidence.spooled
    }

    private mutating func liveOffline(secondsAgo: Int64) throws {
        setOfflineMood()
        try begin(secondsAgo: secondsAgo, ingest: random.chance(25) ? deadURL : door.url)
        live(milliseconds: plan.lifeMilliseconds) { run in
            if run.random.chance(30) { run.setOfflineMood() }
        }
        try die()
    }

    private mutating func setOfflineMood() {
        let moods: [IngestDoor.Mood] = [.resetting, .halfOpen, .refusing]
        if let mood = moods.randomElement(using: &random) { door.set(mood) }
    }

    private mutating func begin(secondsAgo: Int64, ingest: String) throws {
        let wall = TravellingProbe.WallError.allCases.randomElement(using: &random) ?? .none
        try probe.start(secondsAgo: secondsAgo, wall: wall, ingest: ingest, targets: targets)
    }

    /// Lets the probe live for a while, in which its wall clock is set.
    private mutating func live(
        milliseconds: ClosedRange<UInt32>, _ event: (inout OfflineRun) throws -> Void
    ) rethrows {
        var left = UInt32.random(in: milliseconds, using: &random)
        while left > 0 {
            let piece = min(left, UInt32.random(in: 200...900, using: &random))
            usleep(piece * 1000)
            left -= piece
            if random.chance(40) {
                let wall = TravellingProbe.WallError.allCases.randomElement(using: &random)
                probe.setWall(wall ?? .none)
            }
            try event(&self)
        }
    }

    private mutating func die() throws {
        if let exit = probe.ownExit { ownExits.append("the probe \(exit) by itself") }
        try probe.kill()
        evidence.spooled.take(probe.stateFolder)
    }

    // MARK: - Online

    /// The share of requests that fail.
    private static let troublePercents = 20...70

    private mutating func beOnline() throws {
        evidence.onlineFrom = unixMilliseconds()
        door.lead(to: pipeline.apiPort)
        // It does not begin with a new life: what is under way goes on when the way opens.
        setOfflineMood()
        try begin(secondsAgo: 0, ingest: door.url)
        live(milliseconds: 500...4000) { _ in }
        let percent = Int.random(in: Self.troublePercents, using: &random)
        door.set(.unreliable(percent: percent))
        live(milliseconds: 500...4000) { _ in }
        try die()

        let deadline = ContinuousClock.now + .seconds(plan.onlineSeconds)
        var accidents: [Pipeline.Program] = [.ingest, .aggregator(0)].shuffled(using: &random)
        repeat {
            try begin(secondsAgo: 0, ingest: door.url)
            try live(milliseconds: 800...4000) { run in
                guard run.random.chance(30), let program = accidents.popLast() else { return }
                try run.pipeline.kill(program)
                run.random.pause(milliseconds: 100...1000)
                try run.pipeline.start(program)
                run.door.lead(to: run.pipeline.apiPort)
            }
            try die()
        } while ContinuousClock.now < deadline || !accidents.isEmpty
    }

    // MARK: - At last

    /// Leaves the probe alone until its spool is empty, and has it end.
    private mutating func settle() throws -> Bool {
        door.set(.open)
        // It measures next to nothing more.
        try probe.start(
            secondsAgo: 0, wall: .hourBehind, ingest: door.url, targets: Array(targets.prefix(1)),
            interval: "1h")
        let folder = probe.stateFolder
        let isEmpty = eventually(within: Self.settleLimit) {
            usleep(200_000)
            return SpoolCensus.waitingCount(in: folder) == 0
        }
        if let exit = probe.ownExit { ownExits.append("the probe \(exit) by itself") }
        let exit = try probe.stop()
        if exit != .code(0) { ownExits.append("the probe did not end in order: \(exit as Any)") }
        evidence.spooled.take(folder)
        return isEmpty && SpoolCensus.waitingCount(in: folder) == 0
    }

    /// The wall clock, which is the true one here and ingest's, less the clock since boot.
    private static func trueOffset() -> Int64 {
        var wall = timespec()
        var boot = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        clock_gettime(CLOCK_BOOTTIME, &boot)
        return Int64(wall.tv_sec - boot.tv_sec) * 1_000_000_000
            + Int64(wall.tv_nsec - boot.tv_nsec)
    }
}
