import Logging
import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@Suite struct DeliveryTests {
    /// A delivery to scripted servers, and the spool it empties.
    private final class Setup {
        let spool: Spool
        let counters = ProbeCounters()
        let delivery: Delivery
        private let resolver = Resolver()
        private let folder: String
        private let numbering: EventNumbering

        /// - Parameter backlog: Events that are there before the delivery begins.
        init(
            _ servers: [ScriptedIngest], token: TokenSource? = nil, backlog: Int = 0,
            pace: Delivery.Pace = Delivery.Pace()
        ) throws {
            folder = try makeTemporaryFolder()
            spool = try Spool(stateFolder: folder, logger: silentLogger)
            numbering = EventNumbering(
                clientID: "client", session: UniqueID(high: 1, low: 2), context: NetworkContext(),
                resolver: ResolverAddress(files: []), spool: spool, clock: machineClock())
            for _ in 0..<backlog { numbering.add(Self.measurement, of: "http://target/") }
            delivery = Delivery(
                servers: try servers.map { try $0.url }, spool: spool,
                dialer: Dialer(resolver: resolver, tls: try TLSContext.client()),
                token: try token ?? TokenSource(text: "secret"), userAgent: "test", pace: pace,
                reference: machineClock(), counters: counters, logger: silentLogger)
        }

        deinit {
            resolver.shutDown()
            removeFolder(folder)
        }

        private static var measurement: Measurement {
            Measurement(startedAt: .now())
        }

        /// Adds measured events with the next numbers.
        func add(_ count: Int) {
            for _ in 0..<count { numbering.add(Self.measurement, of: "http://target/") }
        }

        /// The numbers that the ledger says were lost.
        var lost: [UInt64] { spool.ledger.stretches.flatMap { Array($0.numbers) }.sorted() }

        /// Takes a step after waiting, as `run` does, until the spool is empty.
        func stepUntilEmpty() -> Bool {
            let interrupt = try? Interrupt()
            return eventually {
                let next = delivery.step(interrupt: nil)
                if spool.status.depth == 0 { return true }
                interrupt?.sleep(for: next.since(.now()))
                return false
            }
        }
    }

    @Test func `accepted events leave the spool, and carry what ingest needs`() throws {
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(3)
        _ = setup.delivery.step(interrupt: nil)
        #expect(setup.spool.status.depth == 0)
        #expect(setup.counters.eventsDelivered.total == 3)
        let request = try #require(ingest.requests().first)
        #expect(request.token == "Bearer secret")
        #expect(request.events.map(\.seq) == [1, 2, 3])
        #expect(Set(request.events.map(\.event_id)).count == 3)
    }

    @Test(arguments: [503, 500, 429, 408])
    func `a server that cannot now gets the same events again`(status: Int) throws {
        let ingest = try ScriptedIngest { _, earlier in
            earlier == 0 ? .answer(status, fields: ["Retry-After: 0"]) : .accepted
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(2)
        #expect(setup.stepUntilEmpty())
        let requests = ingest.requests()
        #expect(requests.count == 2)
        #expect(requests[0].body == requests[1].body)
        #expect(setup.counters.postsFailed.total == 1)
        #expect(setup.counters.eventsDelivered.total == 2)
    }

    @Test(arguments: [503, 429])
    func `Retry-After is obeyed`(status: Int) throws {
        let ingest = try ScriptedIngest { _, _ in
            .answer(status, fields: ["Retry-After: 120"])
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(1)
        _ = setup.delivery.step(interrupt: nil)
        let before = MonotonicInstant.now()
        let next = setup.delivery.step(interrupt: nil)
        #expect(next.since(before) > .seconds(60))
        #expect(ingest.requests().count == 1)
        #expect(setup.spool.status.depth == 1)
    }

    @Test func `a reset inside the answer keeps the events and their identifiers`() throws {
        let ingest = try ScriptedIngest { _, earlier in earlier == 0 ? .breakOff : .accepted }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(2)
        #expect(setup.stepUntilEmpty())
        let requests = ingest.requests()
        #expect(requests.count == 2)
        #expect(requests[0].events == requests[1].events)
    }

    @Test func `a half-open server is given up, and the next one takes over`() throws {
        let silent = try ScriptedIngest { _, _ in .silence }
        let healthy = try ScriptedIngest { _, _ in .accepted }
        defer {
            silent.stop()
            healthy.stop()
        }
        let setup = try Setup([silent, healthy])
        setup.add(1)
        // The interrupt stands for the post's own deadline, which is too long for a test.
        let interrupt = try Interrupt()
        let waiting = TriggerWhen(interrupt) { silent.requests().count == 1 }
        defer { waiting.join() }
        _ = setup.delivery.step(interrupt: interrupt)
        #expect(setup.spool.status.depth == 1)
        _ = setup.delivery.step(interrupt: nil)
        #expect(setup.spool.status.depth == 0)
        #expect(healthy.requests().first?.events.map(\.seq) == [1])
    }

    @Test func `a broken server makes the next one take over at once, which then stays`() throws {
        let broken = try ScriptedIngest { _, _ in .answer(503) }
        let healthy = try ScriptedIngest { _, _ in .accepted }
        defer {
            broken.stop()
            healthy.stop()
        }
        let setup = try Setup([broken, healthy])
        setup.add(1)
        _ = setup.delivery.step(interrupt: nil)
        _ = setup.delivery.step(interrupt: nil)
        #expect(setup.spool.status.depth == 0)
        #expect(broken.requests().count == 1)
        setup.add(1)
        _ = setup.delivery.step(interrupt: nil)
        #expect(healthy.requests().count == 2)
    }

    @Test(arguments: [401, 403, 404, 200, 302, 415])
    func `an answer that only a person can mend keeps the events and is not repeated soon`(
        status: Int
    ) throws {
        let ingest = try ScriptedIngest { _, _ in .answer(status, body: "<html>") }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(2)
        _ = setup.delivery.step(interrupt: nil)
        let before = MonotonicInstant.now()
        #expect(setup.delivery.step(interrupt: nil).since(before) > .seconds(30))
        #expect(setup.spool.status.depth == 2)
        #expect(setup.counters.lastError != nil)
    }

    @Test func `a token that was replaced in its file is used at the next post`() throws {
        try withTemporaryFolder { folder in
            let file = "\(folder)/token"
            try writeText("old\n", to: file)
            let ingest = try ScriptedIngest { request, _ in
                request.token == "Bearer new" ? .accepted : .answer(401)
            }
            defer { ingest.stop() }
            let setup = try Setup([ingest], token: try TokenSource(file: file))
            setup.add(1)
            try writeText("new\n", to: file)
            #expect(setup.stepUntilEmpty())
            #expect(ingest.requests().map(\.token) == ["Bearer old", "Bearer new"])
        }
    }

    @Test func `events refused one by one are counted and not sent again`() throws {
        let ingest = try ScriptedIngest { _, _ in
            .answer(
                202,
                body: #"{"status":"ok","accepted":2,"rejected":[{"index":1,"error":"#
                    + #""invalid_measurement","message":"no"},{"index":99,"error":"x"}]}"#)
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(3)
        _ = setup.delivery.step(interrupt: nil)
        #expect(setup.spool.status.depth == 0)
        #expect(setup.counters.eventsDelivered.total == 2)
        #expect(setup.counters.eventsRefused.total == 1)
        #expect(setup.lost == [2])
    }

    @Test func `a batch that ingest refuses as a whole is counted and removed`() throws {
        let ingest = try ScriptedIngest { _, _ in
            ScriptedIngest.refusal(400, code: "invalid_request")
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(2)
        _ = setup.delivery.step(interrupt: nil)
        #expect(setup.spool.status.depth == 0)
        #expect(setup.counters.eventsRefused.total == 2)
        #expect(setup.lost == [1, 2])
        #expect(setup.counters.lastError?.contains("invalid_request") == true)
    }

    @Test func `a stranger's 400 removes nothing`() throws {
        let ingest = try ScriptedIngest { _, _ in .answer(400, body: "<h1>Bad Request</h1>") }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(3)
        _ = setup.delivery.step(interrupt: nil)
        #expect(setup.spool.status.depth == 3)
    }

    @Test func `a batch that is too large is halved until it fits`() throws {
        let ingest = try ScriptedIngest { request, _ in
            request.events.count > 2 ? .answer(413) : .accepted
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(10)
        #expect(setup.stepUntilEmpty())
        let delivered = ingest.requests().filter { $0.events.count <= 2 }.flatMap(\.events)
        #expect(delivered.map(\.seq) == Array(1...10))
        #expect(setup.counters.eventsDelivered.total == 10)
    }

    @Test func `an event that alone is too large is counted and removed`() throws {
        let ingest = try ScriptedIngest { _, _ in .answer(413) }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(1)
        _ = setup.delivery.step(interrupt: nil)
        #expect(setup.spool.status.depth == 0)
        #expect(setup.counters.eventsRefused.total == 1)
    }

    @Test func `a connection is used for many posts, and replaced when it was closed`() throws {
        let ingest = try ScriptedIngest { _, earlier in
            earlier == 1 ? .answer(202, fields: ["Connection: close"]) : .accepted
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        for _ in 0..<4 {
            setup.add(1)
            _ = setup.delivery.step(interrupt: nil)
        }
        #expect(setup.spool.status.depth == 0)
        #expect(setup.counters.postsFailed.total == 0)
    }

    @Test func `a batch is compressed when that pays`() throws {
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(1)
        _ = setup.delivery.step(interrupt: nil)
        setup.add(20)
        _ = setup.delivery.step(interrupt: nil)
        #expect(ingest.requests().map(\.isCompressed) == [false, true])
        #expect(ingest.requests().flatMap(\.events).map(\.seq) == Array(1...21))
        let raw = ingest.requests().reduce(0) { $0 + $1.body.count }
        #expect(setup.counters.bytesPosted.total < UInt64(raw) / 2)
    }

    @Test(arguments: [400, 415])
    func `where gzip does not get through the same is posted as it is`(status: Int) throws {
        let ingest = try ScriptedIngest { request, _ in
            request.isCompressed
                ? ScriptedIngest.refusal(status, code: "unsupported_media_type") : .accepted
        }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(20)
        #expect(setup.stepUntilEmpty())
        let requests = ingest.requests()
        #expect(requests.map(\.isCompressed) == [true, false])
        #expect(requests[0].body == requests[1].body)
        #expect(setup.counters.eventsRefused.total == 0)
    }

    @Test(arguments: [DrainOrder.oldestFirst, .newestFirst])
    func `fresh events go first, and a backlog beside them at its rate`(order: DrainOrder) throws {
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer { ingest.stop() }
        var pace = Delivery.Pace()
        pace.drainEventsPerSecond = 10
        pace.drainOrder = order
        let setup = try Setup([ingest], backlog: 100, pace: pace)
        setup.add(5)
        _ = setup.delivery.step(interrupt: nil)
        let numbers = try #require(ingest.requests().first).events.map(\.seq)
        let backlog: [UInt64] =
            order == .oldestFirst ? Array(1...10) : Array((91...100).reversed())
        #expect(numbers == Array(101...105) + backlog)
    }

    @Test func `a batch that may be stored goes again as it was, before what came since`() throws {
        let ingest = try ScriptedIngest { _, earlier in earlier == 0 ? .breakOff : .accepted }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(2)
        _ = setup.delivery.step(interrupt: nil)
        setup.add(3)
        #expect(setup.stepUntilEmpty())
        let requests = ingest.requests()
        #expect(requests.map { $0.events.map(\.seq) } == [[1, 2], [1, 2], [3, 4, 5]])
        #expect(requests[0].body == requests[1].body)
    }

    @Test func `what is left is posted at the end`() throws {
        let ingest = try ScriptedIngest { _, _ in .accepted }
        defer { ingest.stop() }
        let setup = try Setup([ingest])
        setup.add(1200)
        let stop = try ProbeStop()
        stop.trigger()
        setup.delivery.run(until: stop, hardStop: try Interrupt())
        #expect(setup.spool.status.depth == 0)
        #expect(ingest.requests().map(\.events.count) == [500, 500, 200])
    }
}
