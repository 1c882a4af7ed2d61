import FoundationEssentials
import Glibc
import Logging
import ProbeCore
import ServiceKit
import Telemetry
import TestKit
import Testing

@testable import ProbeCore

@Suite struct ProbeTests {
    private struct PostedHeartbeat: Decodable {
        let client_id: String
        let session_id: String
        let version: String
        let labels: [String: String]
        let active_targets: Int
        let memory_bytes: Int
        let drops: Int
        let spool_depth: Int
        let clock_offset_ms: Double?
    }

    private let folder: OwnFolder

    init() throws {
        folder = try OwnFolder()
    }

    private func probe(
        _ targets: [String], _ ingest: ScriptedIngest,
        _ change: (inout ProbeConfiguration) -> Void = { _ in }
    ) throws -> Probe {
        var configuration = ProbeConfiguration(
            targets: try targets.map { try Target($0) }, servers: [try ingest.url])
        configuration.clientID = "client"
        configuration.token = "secret"
        configuration.plan.interval = .milliseconds(100)
        configuration.stateFolder = folder.path
        change(&configuration)
        return try Probe(
            configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Runs a probe until a condition holds, and then to its orderly end.
    private func run(_ probe: Probe, until condition: @escaping @Sendable () -> Bool) async -> Bool
    {
        let running = Task { await probe.run() }
        var held = false
        for _ in 0..<2000 where !held {
            held = condition()
            try? await Task.sleep(for: .milliseconds(10))
        }
        running.cancel()
        await running.value
        return held
    }

    @Test func `measures by schedule, numbers without gaps, and delivers all at the end`()
        async throws
    {
        let target = try LocalTarget()
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer {
            target.stop()
            ingest.stop()
        }
        let probe = try probe(["\(target.httpURL)/fast", "\(target.httpURL)/fail"], ingest)
        #expect(await run(probe) { ingest.requests().flatMap(\.events).count >= 20 })

        let events = ingest.requests().flatMap(\.events)
        #expect(events.map(\.seq) == Array(1...UInt64(events.count)))
        #expect(Set(events.map(\.session_id)).count == 1)
        #expect(Set(events.map(\.event_id)).count == events.count)
        #expect(Set(events.map(\.client_id)) == ["client"])
        for event in events {
            #expect(event.error_stage == (event.target.hasSuffix("/fail") ? "http" : nil))
            #expect(event.timing_measurements["dns_ms"] == nil)
            #expect(event.timing_measurements["ttfb_ms"] != nil)
        }
        #expect(probe.spool.status.depth == 0)
        #expect(probe.counters.eventsDelivered.total == UInt64(events.count))
    }

    @Test func `a heartbeat comes first and says what is known and no more`() async throws {
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer { ingest.stop() }
        let probe = try probe(["http://127.0.0.1:1/"], ingest) { $0.labels = ["site": "lab"] }
        #expect(await run(probe) { !ingest.requests(to: "/api/v1/heartbeats").isEmpty })
        let body = try #require(ingest.requests(to: "/api/v1/heartbeats").first?.body)
        let heartbeat = try JSONDecoder().decode(PostedHeartbeat.self, from: Data(body))
        #expect(heartbeat.client_id == "client")
        #expect(heartbeat.labels == ["site": "lab"])
        #expect(heartbeat.active_targets == 1)
        #expect(heartbeat.memory_bytes > 0)
        #expect(heartbeat.clock_offset_ms == nil)
    }

    @Test func `a target that never answers does not hold the others up`() async throws {
        let silent = try RawServer { connection, patience in try connection.drain(patience) }
        let target = try LocalTarget()
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer {
            target.stop()
            ingest.stop()
        }
        // The timeout exceeds the interval: several measurements of the silent one are under way.
        let probe = try probe([silent.url, "\(target.httpURL)/fast"], ingest) {
            $0.plan.timeout = .seconds(60)
            $0.plan.inFlightMax = 4
        }
        let fast = "\(target.httpURL)/fast"
        #expect(
            await run(probe) {
                probe.counters.slotsSkipped(.busy) > 0
                    && ingest.requests().flatMap(\.events).contains { $0.target == fast }
            })
        // Interrupted measurements are not events: nothing was learned of the target.
        let silentURL = silent.url
        #expect(!ingest.requests().flatMap(\.events).contains { $0.target == silentURL })
    }

    @Test func `what a dead ingest leaves is delivered by the next run under its old numbers`()
        async throws
    {
        let target = try LocalTarget()
        let dead = try ScriptedIngest { _, _ in .answer(503) }
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer {
            target.stop()
            dead.stop()
            ingest.stop()
        }
        func runInVain() async throws -> Int {
            let first = try probe(["\(target.httpURL)/fast"], dead)
            #expect(await run(first) { first.spool.status.depth >= 5 })
            #expect(first.counters.eventsDelivered.total == 0)
            return first.spool.status.depth
        }
        let left = try await runInVain()
        let second = try probe([], ingest)
        #expect(second.spool.status.depth == left)
        #expect(await run(second) { second.spool.status.depth == 0 })
        let events = ingest.requests().flatMap(\.events)
        #expect(events.map(\.seq) == Array(1...UInt64(left)))
        #expect(Set(events.map(\.session_id)).count == 1)
    }

    @Test func `a reload changes the targets and neither the session nor its numbers`() async throws
    {
        let target = try LocalTarget()
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer {
            target.stop()
            ingest.stop()
        }
        let (one, two) = ("\(target.httpURL)/fast?one", "\(target.httpURL)/fast?two")
        let probe = try probe([one], ingest)
        var new = ProbeConfiguration(targets: [try Target(two)], servers: [try ingest.url])
        new.plan.interval = .milliseconds(100)
        let configuration = new
        let running = Task { await probe.run() }
        func events(of name: String) -> Int {
            ingest.requests().flatMap(\.events).count { $0.target == name }
        }
        #expect(await becomesTrue { events(of: one) >= 3 })
        probe.adopt(configuration)
        #expect(await becomesTrue { events(of: two) >= 3 })
        running.cancel()
        await running.value
        let all = ingest.requests().flatMap(\.events)
        #expect(Set(all.map(\.session_id)).count == 1)
        #expect(Set(all.map(\.seq)) == Set(1...UInt64(all.count)))
        let lastOfOne = all.filter { $0.target == one }.map(\.seq).max() ?? 0
        let firstOfTwo = all.filter { $0.target == two }.map(\.seq).min() ?? 0
        // What was under way at the reload ends under the old plan.
        #expect(lastOfOne < firstOfTwo + 2)
    }

    private func becomesTrue(_ condition: () -> Bool) async -> Bool {
        for _ in 0..<2000 {
            if condition() { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return condition()
    }

    @Test func `a second probe in the same state folder is refused`() async throws {
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer { ingest.stop() }
        let first = try probe([], ingest)
        let refusal = #expect(throws: ProbeError.self) { try probe([], ingest) }
        #expect(refusal?.description.contains("in use by another probe") == true)
        #expect(refusal?.description.contains("\(getpid())") == true)
        #expect(await run(first) { true })
    }

    @Test func `an unreadable token file stops the start`() throws {
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer { ingest.stop() }
        #expect(throws: ProbeError.self) {
            try probe([], ingest) {
                $0.token = nil
                $0.tokenFile = "/nowhere/token"
            }
        }
    }

    @Test func `the fingerprint changes with what is measured and not with the token`() throws {
        let servers = [try HTTPURL("http://ingest/")]
        var one = ProbeConfiguration(targets: [try Target("http://a/")], servers: servers)
        let other = ProbeConfiguration(targets: [try Target("http://b/")], servers: servers)
        #expect(one.fingerprint != other.fingerprint)
        let before = one.fingerprint
        one.token = "secret"
        #expect(one.fingerprint == before)
    }
}
