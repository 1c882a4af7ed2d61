import OwnedThreads
import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@testable import ProbeCore

/// The whole way from a measurement to ingest under seeded answers, kills and a spool that is too small,
/// against what a perfect observer knows.
@Suite struct StoreAndForwardTests {
    /// What ingest stored.
    private struct Seen {
        var random: SeededGenerator
        var isKind = false
        var bodies: [EventName: Set<String>] = [:]
    }

    @Test(arguments: 0..<12 as Range<UInt64>)
    func `every event is stored under its name, or named as lost`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let seen = Monitor(Seen(random: SeededGenerator(seed: seed &+ 1000)))
        let ingest = try ScriptedIngest { request, _ in
            seen.update { Self.answer(to: request, &$0) }
        }
        defer { ingest.stop() }
        let folder = try OwnFolder()
        let resolver = Resolver()
        defer { resolver.shutDown() }
        let dialer = Dialer(resolver: resolver, tls: try TLSContext.client())
        let limits = SpoolLimits(
            bytesMax: random.chance(50) ? 24 << 10 : 1 << 20, segmentBytesMax: 1 << 10)
        var now = MonotonicInstant.now()
        var made: Set<EventName> = []

        let runs = 8
        for run in 1...runs as ClosedRange<Int> {
            let isLast = run == runs
            let spool = try Spool(
                stateFolder: folder.path, limits: limits, logger: silentLogger)
            let counters = ProbeCounters()
            var pace = Delivery.Pace()
            pace.batchCountMax = 20
            pace.drainOrder = random.chance(50) ? .oldestFirst : .newestFirst
            let moment = Monitor(now)
            let delivery = Delivery(
                servers: [try ingest.url], spool: spool, dialer: dialer,
                token: try TokenSource(text: "secret"), userAgent: "test", pace: pace,
                reference: machineClock(), counters: counters, logger: silentLogger,
                clock: { moment.withLock { $0 } })
            let session = UniqueID(high: 0, low: UInt64(run))
            let numbering = EventNumbering(
                clientID: "client", session: session, context: NetworkContext(),
                resolver: ResolverAddress(files: []), spool: spool, clock: machineClock())
            var number: UInt64 = 0
            for _ in 0..<Int.random(in: 5...40, using: &random) {
                for _ in 0..<Int.random(in: 0...12, using: &random) {
                    numbering.add(
                        Measurement(startedAt: .now()),
                        of: "http://target/")
                    number += 1
                    made.insert(EventName(UInt64(run), number))
                }
                now = max(now, delivery.step(interrupt: nil))
                // Pauses pass at once; sometimes an outage of minutes as well.
                if random.chance(10) { now = now.advanced(by: .seconds(200)) }
                moment.update { $0 = now }
                if random.chance(20) { spool.tick(nowMilliseconds: WallClock.nowMilliseconds()) }
            }
            guard isLast else {
                // Some end in order, others are killed.
                if random.chance(30) { spool.close() }
                continue
            }
            seen.update { $0.isKind = true }
            for _ in 0..<5000 where spool.status.depth > 0 {
                now = max(now, delivery.step(interrupt: nil)).advanced(by: .milliseconds(1))
                moment.update { $0 = now }
            }
            #expect(spool.status.depth == 0, "seed \(seed)")
            let stored = Set(seen.withLock { $0.bodies.keys })
            let lost = Set(spool.ledger.names)
            #expect(spool.ledger.forgotten == 0)
            #expect(stored.union(lost) == made, "seed \(seed)")
            let both = stored.intersection(lost)
            #expect(both.isEmpty, "seed \(seed): \(both.sorted())")
            // However often it was posted, an event was always the same.
            #expect(
                seen.withLock { $0.bodies.values.allSatisfy { $0.count == 1 } }, "seed \(seed)")
        }
    }

    private static func isRefused(_ event: ScriptedIngest.PostedEvent) -> Bool {
        event.seq % 23 == 0
    }

    private static func answer(
        to request: ScriptedIngest.Request, _ seen: inout Seen
    ) -> ScriptedIngest.Reply {
        guard request.path == "/api/v1/events" else { return .accepted }
        let events = request.events
        let rejected = events.enumerated().filter { isRefused($0.element) }.map {
            #"{"index":\#($0.offset),"error":"invalid_measurement","message":"no"}"#
        }.joined(separator: ",")
        func store() {
            for event in events where !isRefused(event) {
                let name = EventName(UniqueID(event.session_id)?.low ?? 0, event.seq)
                seen.bodies[name, default: []].insert(event.event_id)
            }
        }
        switch seen.isKind ? 0 : seen.random.next() % 10 {
        case 5: return .answer(503, fields: ["Retry-After: 1"])
        case 6: return .answer(429, fields: ["Retry-After: 2"])
        case 7:
            store()
            return .breakOff
        case 8:
            store()
            return .answer(503)
        case 9 where events.count > 3: return .answer(413)
        default:
            if events.allSatisfy(isRefused) {
                return ScriptedIngest.refusal(400, code: "invalid_request", rejected: rejected)
            }
            store()
            return .answer(202, body: #"{"status":"ok","rejected":[\#(rejected)]}"#)
        }
    }
}
