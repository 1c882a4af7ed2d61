import Logging
import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

/// A probe's clock against a real ingest, whose time is the true one here.
@Suite(.serialized) struct ProbeClockTests {
    /// How far the probe's wall clock is off, seconds.
    private static let offSeconds: Int64 = -3 * 365 * 86_400

    private static func wrongNow() -> MeasurementMoment {
        let now = MeasurementMoment.now()
        return MeasurementMoment(
            wallNanoseconds: now.wallNanoseconds + offSeconds * 1_000_000_000,
            boottime: now.boottime)
    }

    /// A probe's parts that talk to ingest, with a wall clock that is years off.
    private struct Parts {
        let counters = ProbeCounters()
        let clock: ReferenceClock
        let spool: Spool
        let delivery: Delivery
        let reporter: HeartbeatReporter
        let numbering: EventNumbering
        private let resolver: Resolver

        init(_ ingest: RunningIngest) throws {
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            resolver = Resolver()
            let dialer = Dialer(resolver: resolver, tls: try ingest.tls ?? TLSContext.client())
            let scheme = ingest.tls == nil ? "http" : "https"
            let urls = [try HTTPURL("\(scheme)://127.0.0.1:\(ingest.port)")]
            let token = try TokenSource(text: ingest.token)
            clock = ReferenceClock(
                stateFolder: nil, counters: counters, logger: logger,
                source: { ProbeClockTests.wrongNow() })
            spool = try Spool(stateFolder: nil, logger: logger)
            numbering = EventNumbering(
                clientID: "client", session: UniqueID(high: 1, low: 2),
                resolver: ResolverAddress(files: []), spool: spool, clock: clock)
            delivery = Delivery(
                servers: urls, spool: spool, dialer: dialer, token: token, userAgent: "test",
                reference: clock,
                synchroniser: TimeSynchroniser(
                    servers: urls, clock: clock, token: token, counters: counters, logger: logger),
                counters: counters, logger: logger)
            reporter = HeartbeatReporter(
                servers: urls, base: { Heartbeat(clientID: "client", sentAtMilliseconds: 0) },
                spool: spool, clock: clock, dialer: dialer, token: token, userAgent: "test",
                counters: counters, logger: logger)
        }

        func end() { resolver.shutDown() }

        /// How far the estimate is from the true time, and may be, nanoseconds.
        func error() throws -> (is: Int64, mayBe: Int64) {
            let now = MeasurementMoment.now()
            let estimate = try #require(clock.reading().estimate)
            return (
                abs(estimate.unixNanoseconds(at: now.boottime) - now.wallNanoseconds),
                // Two readings of this test's own.
                estimate.uncertaintyNanoseconds(at: now.boottime) + 5_000_000
            )
        }
    }

    @Test(arguments: Door.allCases)
    func `the probe learns the time before its first post, and events are stored with it`(
        door: Door
    ) async throws {
        try await withIngest(door) { ingest in
            let parts = try Parts(ingest)
            defer { parts.end() }
            let before = nowMilliseconds()
            for _ in 0..<3 {
                parts.numbering.add(
                    Measurement(startedAt: Self.wrongNow()), of: "http://target/",
                    in: NetworkContext())
            }
            _ = parts.delivery.step(interrupt: nil)
            let after = nowMilliseconds()
            #expect(parts.counters.eventsDelivered.total == 3)
            #expect(parts.counters.eventsRefused.total == 0)
            #expect(
                parts.counters.exchanges(.agreed) == UInt64(TimeSynchroniser.exchangesPerRound))
            let (error, most) = try parts.error()
            #expect(error <= most)
            let slack = most / 1_000_000 + 1
            let stored = try ingest.storedEvents().map(\.event.measuredAtMilliseconds)
            #expect(stored.count == 3)
            for measured in stored {
                #expect((before - slack...after + slack).contains(measured))
            }
        }
    }

    @Test func `the answer to a heartbeat tells the time as well`() async throws {
        try await withIngest { ingest in
            let parts = try Parts(ingest)
            defer { parts.end() }
            let stop = try ProbeStop()
            stop.announce()
            parts.reporter.run(until: stop)
            #expect(parts.counters.exchanges(.agreed) == 1)
            let (error, most) = try parts.error()
            #expect(error <= most)
            parts.reporter.run(until: stop)
            let heartbeat = try JSON(try #require(ingest.storedHeartbeats().last))
            let offset = try #require(heartbeat["clock_offset_ms"]?.double)
            #expect(abs(offset + Double(Self.offSeconds) * 1000) < 60_000)
            #expect(try #require(heartbeat["clock_uncertainty_ms"]?.double) > 0)
        }
    }
}
