import DatabaseFailover
import Foundation
import TestKit
import Testing

/// Both servers for real; roles change places, and no row that was promised is lost.
///
/// Six servers with limits of time that operators have: on a machine that does nothing else, by `make failover`. The
/// test of a deployment does the same in containers.
@Suite(
    .enabled(
        if: ProcessInfo.processInfo.environment["QOE_FAILOVER"] != nil,
        "make failover runs them alone"))
struct FailoverRunTests {
    private let one = TwoMachines.primary
    private let two = TwoMachines.replica

    private func withMachines(
        _ body: @escaping @Sendable (TwoMachines) throws -> Void
    ) async throws {
        try await onOwnThread("failover") {
            try withTemporaryFolder { folder in
                let machines = try TwoMachines(folder)
                defer { machines.end() }
                do {
                    for name in [one, two] { try machines.docker("docker start \(name)") }
                    try expectFollowing(machines, primary: one)
                    try body(machines)
                } catch {
                    let logs = [one, two].map { "\($0):\n\(machines.log(of: $0))" }
                    Issue.record("\(error)\n\(logs.joined(separator: "\n"))")
                    throw error
                }
            }
        }
    }

    private func expectFollowing(_ machines: TwoMachines, primary: String) throws {
        try #require(
            try eventually(within: .seconds(60)) {
                try machines.sight(primary).answer?.sendingState == "streaming"
            }, "nobody follows \(primary)")
    }

    private func expectFenced(_ machines: TwoMachines, _ name: String) throws {
        try #require(
            try eventually(within: .seconds(60)) {
                let sight = try machines.sight(name)
                return sight.answer == nil && sight.container == .running
                    && machines.log(of: name).contains("NOT STARTED: these data are of timeline")
            }, "\(name) serves")
    }

    @Test func `a primary that was killed is replaced, never serves again, and rejoins`()
        async throws
    {
        try await withMachines { machines in
            _ = try machines.sql("CREATE TABLE kept AS SELECT 1 AS n", at: one)
            guard case .nothingToDo = try machines.failover().decision else {
                Issue.record("a primary that works was replaced")
                return
            }
            // What the replica does not get: its sender stands still.
            #expect(
                try eventually {
                    let ahead = try machines.sight(one).answer?.endOfLog
                    let sight = try machines.sight(two)
                    return sight.contact != nil && sight.answer?.endOfLog == ahead
                })
            try machines.docker(
                "kill -STOP \(machines.sql("SELECT pid FROM pg_stat_replication", at: one))")
            _ = try machines.sql("CREATE TABLE lost AS SELECT 1 AS n", at: one)
            try machines.docker("docker kill \(one)")

            let failed = try machines.failover()
            #expect(
                failed.decision == .promote(two, insteadOf: one, isClean: false, fences: true))
            #expect(
                failed.said.contains { $0.hasPrefix("lost: ") && $0.contains("with 1 commits") })
            #expect(try machines.sight(two).answer?.timeline == 2)
            #expect(try machines.sql("SELECT n FROM kept", at: two) == "1\n")
            guard case .nothingToDo = try machines.failover().decision else {
                Issue.record("a second call did something")
                return
            }

            // Without what the failover left there, it has only its peer to tell.
            try machines.docker(
                "rm \(machines.folder)/\(one)/data/pgdata.fenced; docker start \(one)")
            try expectFenced(machines, one)
            // Now it knows by itself, whoever is there.
            try machines.docker("docker stop -t 60 \(two); docker restart -t 60 \(one)")
            try expectFenced(machines, one)
            try machines.docker("docker start \(two)")
            #expect(try eventually { try machines.sight(two).answer?.isInRecovery == false })

            #expect(try machines.rejoin().decision == .remake(one, following: two))
            #expect(try machines.sql("SELECT count(*) FROM kept", at: one) == "1\n")
            #expect(try machines.sql("SELECT to_regclass('lost') IS NULL", at: one) == "t\n")
            #expect(machines.log(of: one).contains("run.sh: rewound to"))
            guard case .nothingToDo = try machines.rejoin().decision else {
                Issue.record("a second call did something")
                return
            }
        }
    }

    @Test func `a switchover loses nothing, and back again`() async throws {
        try await withMachines { machines in
            _ = try machines.sql("CREATE TABLE kept AS SELECT 1 AS n", at: one)
            for (old, new) in [(one, two), (two, one)] {
                let (decision, said) = try machines.failover {
                    $0.isSwitchover = true
                    $0.target = new
                }
                #expect(
                    decision == .promote(new, insteadOf: old, isClean: true, fences: true))
                #expect(said.contains("lost: nothing"))
                _ = try machines.sql("INSERT INTO kept SELECT 1", at: new)
                #expect(try machines.rejoin().decision == .remake(old, following: new))
                try expectFollowing(machines, primary: new)
            }
            #expect(try machines.sql("SELECT count(*) FROM kept", at: one) == "3\n")
            #expect(try machines.sight(one).answer?.timeline == 3)
        }
    }

    @Test func `a primary that nobody could stop stops itself when it meets the new one`()
        async throws
    {
        try await withMachines { machines in
            machines.cutOff(one)
            guard case .refused = try machines.failover({ $0.primaryIsLost = true }).decision else {
                Issue.record("a primary was given up whose log still came")
                return
            }
            let decision = try machines.failover {
                $0.primaryIsLost = true
                $0.isForced = true
            }.decision
            #expect(decision == .promote(two, insteadOf: one, isClean: false, fences: false))
            machines.cutOff(nil)
            try expectFenced(machines, one)
            #expect(machines.log(of: one).contains("STOPPING: "))
            #expect(try machines.rejoin().decision == .remake(one, following: two))
        }
    }
}
