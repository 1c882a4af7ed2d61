import FoundationEssentials
import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@testable import ProbeCore

/// A probe's delivery to scripted servers that tell the true time, on a machine whose wall clock does not.
@Suite struct TimeSynchroniserTests {
    private static let timePath = "/api/v1/time"
    /// How long a test may be held up before its events seem to be at the wrong time, milliseconds.
    private static let near: Int64 = 60_000

    private struct Timed: Decodable {
        let ts_ms: Int64
        let clock_offset_ms: Double?
    }

    private static func trueMicroseconds() -> Int64 { WallClock.nowNanoseconds() / 1000 }

    /// As ingest tells its time.
    private static func time(aheadBySeconds ahead: Int64 = 0) -> ScriptedIngest.Reply {
        let now = trueMicroseconds() + ahead * 1_000_000
        return .answer(
            200, body: #"{"status":"ok","server_recv_us":\#(now),"server_send_us":\#(now)}"#)
    }

    /// Refuses events that are more than five minutes ahead or an hour behind, as ingest does in its way.
    private static func judge(_ request: ScriptedIngest.Request) -> ScriptedIngest.Reply {
        let now = trueMicroseconds() / 1000
        let rejected = times(request).enumerated().filter {
            $0.element.ts_ms > now + 300_000 || $0.element.ts_ms < now - 3_600_000
        }.map { #"{"index":\#($0.offset),"error":"invalid_timestamp","message":"no"}"# }
        let list = rejected.joined(separator: ",")
        return rejected.count == times(request).count
            ? ScriptedIngest.refusal(400, code: "invalid_request", rejected: list)
            : .answer(202, body: #"{"status":"ok","rejected":[\#(list)]}"#)
    }

    private static func times(_ request: ScriptedIngest.Request) -> [Timed] {
        request.body.split(separator: UInt8(ascii: "\n")).compactMap {
            try? JSONDecoder().decode(Timed.self, from: Data($0))
        }
    }

    private final class Setup {
        let machine = SettableMachine()
        let counters = ProbeCounters()
        let clock: ReferenceClock
        let spool: Spool
        let delivery: Delivery
        let reporter: HeartbeatReporter
        private let numbering: EventNumbering
        private let resolver = Resolver()
        private(set) var now = MonotonicInstant.now()

        init(_ servers: [ScriptedIngest], wallOffBySeconds: Int64 = -10 * yearSeconds) throws {
            machine.setWall(offBy: wallOffBySeconds)
            clock = machine.clock(counters: counters)
            spool = try Spool(stateFolder: nil, logger: silentLogger)
            numbering = EventNumbering(
                clientID: "client", session: UniqueID(high: 1, low: 2),
                resolver: ResolverAddress(files: []), spool: spool, clock: clock)
            let urls = try servers.map { try $0.url }
            let dialer = Dialer(resolver: resolver, tls: try TLSContext.client())
            let token = try TokenSource(text: "secret")
            // Pauses pass at once.
            let moment = Moment()
            self.moment = moment
            delivery = Delivery(
                servers: urls, spool: spool, dialer: dialer, token: token, userAgent: "test",
                reference: clock,
                synchroniser: TimeSynchroniser(
                    servers: urls, clock: clock, token: token, counters: counters,
                    logger: silentLogger), counters: counters, logger: silentLogger,
                clock: { moment.now })
            reporter = HeartbeatReporter(
                servers: urls, base: { Heartbeat(clientID: "client", sentAtMilliseconds: 0) },
                spool: spool, clock: clock, dialer: dialer, token: token, userAgent: "test",
                counters: counters, logger: silentLogger)
        }

        final class Moment {
            var now = MonotonicInstant.now()
        }

        private let moment: Moment

        deinit { resolver.shutDown() }

        func add(_ count: Int) {
            for _ in 0..<count {
                numbering.add(
                    Measurement(startedAt: machine.now()), of: "http://target/",
                    in: NetworkContext())
            }
        }

        /// One step, after the pause that the one before asked for.
        func step() {
            moment.now = max(moment.now, delivery.step(interrupt: nil))
        }
    }

    @Test(arguments: [-10 * yearSeconds, -7200, 0, 7200, 10 * yearSeconds])
    func `the time is learned before the first post, which then is right`(wallOff: Int64) throws {
        let ingest = try ScriptedIngest { request, _ in
            request.path == Self.timePath ? Self.time() : Self.judge(request)
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest], wallOffBySeconds: wallOff)
        let measuredAt = Self.trueMicroseconds() / 1000
        setup.add(3)
        setup.step()
        #expect(
            ingest.requests(to: Self.timePath).count == TimeSynchroniser.exchangesPerRound)
        #expect(ingest.requests(to: Self.timePath).allSatisfy { $0.token == "Bearer secret" })
        let events = ingest.requests().flatMap(Self.times)
        #expect(events.count == 3)
        for event in events {
            #expect(abs(event.ts_ms - measuredAt) < Self.near)
            #expect(
                abs(try #require(event.clock_offset_ms) + Double(wallOff) * 1000)
                    < Double(Self.near))
        }
        #expect(setup.counters.eventsDelivered.total == 3)
        #expect(setup.counters.eventsRefused.total == 0)
        // The next round comes later, or when somebody sets the wall clock.
        setup.add(1)
        setup.step()
        let count = TimeSynchroniser.exchangesPerRound
        #expect(ingest.requests(to: Self.timePath).count == count)
        setup.machine.setWall(offBy: wallOff + 100)
        setup.machine.pass(seconds: 11)
        setup.step()
        #expect(ingest.requests(to: Self.timePath).count == 2 * count)
        setup.machine.pass(seconds: 301)
        setup.step()
        #expect(ingest.requests(to: Self.timePath).count == 3 * count)
        let heartbeat = setup.reporter.heartbeat()
        #expect(
            abs(try #require(heartbeat.clockOffsetMilliseconds) + Double(wallOff + 100) * 1000)
                < 312_000 + Double(Self.near))
        #expect(try #require(heartbeat.clockUncertaintyMilliseconds) > 0)
    }

    @Test func `an older ingest is no error, and what it refuses for its time is kept`() throws {
        let ingest = try ScriptedIngest { request, _ in
            switch request.path {
            case Self.timePath: .answer(404, body: #"{"status":"error"}"#)
            case "/api/v1/heartbeats":
                .answer(
                    202,
                    body: #"{"status":"ok","recv_ts_ms":\#(Self.trueMicroseconds() / 1000)}"#)
            default: Self.judge(request)
            }
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        let measuredAt = Self.trueMicroseconds() / 1000
        setup.add(3)
        setup.step()
        #expect(setup.spool.status.depth == 3)
        #expect(setup.counters.eventsRefused.total == 0)
        #expect(setup.counters.exchanges(.unsupported) >= 1)
        #expect(setup.clock.reading().estimate == nil)
        #expect(setup.reporter.heartbeat().clockOffsetMilliseconds == nil)
        // Its answer to a heartbeat tells the time to the millisecond.
        let stop = try ProbeStop()
        stop.announce()
        setup.reporter.run(until: stop)
        #expect(setup.clock.reading().estimate != nil)
        for _ in 0..<5 where setup.spool.status.depth > 0 { setup.step() }
        #expect(setup.spool.status.depth == 0)
        #expect(setup.counters.eventsDelivered.total == 3)
        #expect(setup.counters.eventsRefused.total == 0)
        let events = try #require(ingest.requests().last.map(Self.times))
        #expect(events.allSatisfy { abs($0.ts_ms - measuredAt) < Self.near })
    }

    @Test func `a probe that is stopped early learns the time for its last posts`() throws {
        let ingest = try ScriptedIngest { request, _ in
            request.path == Self.timePath ? Self.time() : Self.judge(request)
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(3)
        let stop = try ProbeStop()
        stop.trigger()
        setup.delivery.run(until: stop, hardStop: try Interrupt())
        #expect(setup.counters.eventsDelivered.total == 3)
        #expect(setup.counters.eventsRefused.total == 0)
    }

    @Test func `without the time a good wall clock is good enough, and nothing is made up`() throws
    {
        let ingest = try ScriptedIngest { request, _ in
            request.path == Self.timePath ? .answer(404) : Self.judge(request)
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest], wallOffBySeconds: 0)
        setup.add(3)
        setup.step()
        #expect(setup.counters.eventsDelivered.total == 3)
        #expect(ingest.requests().flatMap(Self.times).allSatisfy { $0.clock_offset_ms == nil })
        setup.machine.pass(seconds: 301)
        setup.step()
        // Not asked again for a while.
        #expect(ingest.requests(to: Self.timePath).count == 1)
    }

    @Test func `a server that does not answer gets no event whose time is not known`() throws {
        let broken = try ScriptedIngest { request, _ in
            request.path == Self.timePath ? .breakOff : Self.judge(request)
        }
        let healthy = try ScriptedIngest { request, _ in
            request.path == Self.timePath ? Self.time() : Self.judge(request)
        }
        defer {
            broken.stop()
            healthy.stop()
        }
        let setup = try Setup([broken, healthy])
        setup.add(2)
        setup.step()
        setup.step()
        #expect(broken.requests().isEmpty)
        #expect(setup.counters.eventsDelivered.total == 2)
        #expect(healthy.requests().flatMap(\.events).map(\.seq) == [1, 2])
    }

    @Test func `when only questions for the time stay unanswered events go all the same`() throws {
        let ingest = try ScriptedIngest { request, _ in
            request.path == Self.timePath ? .breakOff : .accepted
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest], wallOffBySeconds: 0)
        setup.add(2)
        for _ in 0..<20 where setup.spool.status.depth > 0 { setup.step() }
        #expect(setup.counters.eventsDelivered.total == 2)
    }

    @Test func `a batch that may be stored goes again as it was, though the time is known by then`()
        throws
    {
        let ingest = try ScriptedIngest { request, earlier in
            if request.path == Self.timePath { return .answer(404) }
            return earlier == 0 ? .breakOff : .accepted
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(2)
        setup.step()
        setup.clock.add(setup.machine.exchange(), with: 0)
        setup.add(1)
        for _ in 0..<20 where setup.spool.status.depth > 0 { setup.step() }
        let requests = ingest.requests()
        #expect(requests.map { $0.events.map(\.seq) } == [[1, 2], [1, 2], [3]])
        #expect(requests[0].body == requests[1].body)
    }

    @Test func `the next server's time is taken before it gets events`() throws {
        let first = try ScriptedIngest { request, earlier in
            request.path == Self.timePath ? Self.time() : earlier == 0 ? .accepted : .answer(503)
        }
        // Its clock is ten minutes ahead, and what is right for it is what it takes.
        let second = try ScriptedIngest { request, _ in
            request.path == Self.timePath ? Self.time(aheadBySeconds: 600) : .accepted
        }
        defer {
            first.stop()
            second.stop()
        }
        let setup = try Setup([first, second])
        setup.add(1)
        setup.step()
        // This one may be stored at the first, and goes to the second as it was.
        setup.add(1)
        setup.step()
        setup.step()
        setup.add(1)
        setup.step()
        let now = Self.trueMicroseconds() / 1000
        let events = second.requests().flatMap(Self.times)
        #expect(events.count == 2)
        #expect(abs(try #require(events.first?.ts_ms) - now) < Self.near)
        #expect(abs(try #require(events.last?.ts_ms) - now - 600_000) < Self.near)
        #expect(setup.counters.exchanges(.replaced) == 1)
    }

    @Test(arguments: [
        "", "{}", "[]", "<html>", #"{"server_recv_us":1}"#, #"{"server_recv_us":"1"}"#,
        #"{"server_recv_us":9223372036854775807,"server_send_us":9223372036854775807}"#,
        #"{"server_recv_us":-1,"server_send_us":-2}"#,
    ])
    func `an answer that ingest does not give tells no time and stops nothing`(body: String) throws
    {
        let ingest = try ScriptedIngest { request, _ in
            request.path == Self.timePath ? .answer(200, body: body) : .accepted
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest], wallOffBySeconds: 0)
        setup.add(1)
        setup.step()
        #expect(setup.counters.eventsDelivered.total == 1)
        #expect(setup.clock.reading().estimate == nil)
    }
}
