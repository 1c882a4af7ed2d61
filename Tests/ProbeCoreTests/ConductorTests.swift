import OwnedThreads
import ServiceKit
import Synchronization
import Telemetry
import TestKit
import Testing
import Transport

@testable import ProbeCore

@Suite struct ConductorTests {
    /// A conductor over a spool that nobody empties.
    private final class Rig {
        let conductor: Conductor
        let counters = ProbeCounters()
        let suppression = Suppression()
        let spool: Spool
        private let folder: String
        private let resolver = Resolver()
        private let thread: OwnedThread

        init(_ plan: MeasurementPlan, trafficFolder: String? = nil) throws {
            folder = try makeTemporaryFolder()
            spool = try Spool(stateFolder: folder, logger: silentLogger)
            let session = UniqueID(high: 1, low: 2)
            let runner = MeasurementRunner(
                dialer: Dialer(resolver: resolver, tls: try TLSContext.client()),
                numbering: EventNumbering(
                    clientID: "client", session: session, resolver: ResolverAddress(files: []),
                    spool: spool, clock: machineClock()),
                counters: counters, logger: silentLogger)
            let conductor = try Conductor(
                plan, client: "client", runner: runner, suppression: suppression,
                trafficFile: trafficFolder.map { TrafficFile(stateFolder: $0) },
                counters: counters)
            self.conductor = conductor
            thread = OwnedThread(name: "conductor") { conductor.run() }
        }

        /// Ends it; false when `condition` did not come to hold before.
        func stop(after condition: () -> Bool) -> Bool {
            let held = eventually(condition)
            conductor.stop()
            thread.join()
            resolver.shutDown()
            removeFolder(folder)
            return held
        }
    }

    private func plan(_ targets: String...) throws -> MeasurementPlan {
        var plan = MeasurementPlan(targets: try targets.map { try Target($0) })
        plan.interval = .milliseconds(100)
        return plan
    }

    private func silentServer() throws -> RawServer {
        try RawServer { connection, patience in try connection.drain(patience) }
    }

    @Test func `a target has an interval of its own`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let seldom = "\(target.httpURL)/fast?seldom interval=1h"
        let rig = try Rig(try plan("\(target.httpURL)/fast", seldom))
        #expect(rig.stop { rig.counters.measurementsSucceeded.total >= 5 })
    }

    @Test func `quiet hours are counted and nothing is measured in them`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        var plan = try plan("\(target.httpURL)/fast")
        plan.quietHours = try #require(QuietHours(["00:00-24:00"]))
        let rig = try Rig(plan)
        #expect(rig.stop { rig.counters.slotsSkipped(.quiet) >= 3 })
        #expect(rig.spool.status.depth == 0)
    }

    @Test func `a stop of the fleet ends what is under way, and the end of it lets all go on`()
        throws
    {
        let silent = try silentServer()
        let target = try LocalTarget()
        defer { target.stop() }
        var plan = try plan(silent.url, "\(target.httpURL)/fast")
        plan.timeout = .seconds(600)
        plan.inFlightMax = 64
        let rig = try Rig(plan)
        #expect(eventually { rig.conductor.inFlight >= 2 && rig.spool.status.depth > 0 })
        #expect(rig.suppression.set(true))
        #expect(eventually { rig.conductor.inFlight == 0 })
        let before = rig.spool.status.depth
        let skipped = rig.counters.slotsSkipped(.suppressed)
        #expect(eventually { rig.counters.slotsSkipped(.suppressed) > skipped + 4 })
        #expect(rig.spool.status.depth == before)
        #expect(rig.counters.measurementsNotMade.total == 0)
        #expect(!rig.suppression.set(true))
        rig.suppression.set(false)
        #expect(rig.stop { rig.spool.status.depth > before })
    }

    @Test func `answers of servers order the stop and end it, others do not`() throws {
        let suppression = Suppression()
        func answer(_ status: Int, _ field: String = "") throws {
            var reader = HTTPResponseReader()
            let text = "HTTP/1.1 \(status) x\r\nContent-Length: 0\r\n\(field)\r\n"
            try reader.consume(Array(text.utf8).span)
            suppression.take(try #require(reader.head))
        }
        try answer(202)
        #expect(!suppression.isActive)
        try answer(503, "QoE-Suppress: measurements\r\n")
        #expect(suppression.isActive)
        for status in [503, 429, 404, 302] { try answer(status) }
        #expect(suppression.isActive)
        try answer(202)
        #expect(!suppression.isActive)
    }

    @Test func `the traffic of a day is a bound, and what fits is still measured`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        var plan = try plan(
            "\(target.httpURL)/bytes/300000 name=large", "\(target.httpURL)/fast name=small")
        plan.trafficBytesPerDay = 1 << 20
        let rig = try Rig(plan)
        #expect(eventually { rig.counters.slotsSkipped(.traffic) >= 5 })
        let before = rig.counters.measurementsSucceeded.total
        #expect(rig.stop { rig.counters.measurementsSucceeded.total >= before + 5 })
        #expect(rig.counters.bytesMeasured.total <= 1 << 20)
        #expect(rig.counters.bytesMeasured.total >= 900_000)
    }

    @Test func `a restart does not give the day's traffic back`() throws {
        let target = try LocalTarget()
        let folder = try OwnFolder()
        defer { target.stop() }
        var plan = try plan("\(target.httpURL)/bytes/300000 name=large")
        plan.trafficBytesPerDay = 1 << 20
        let first = try Rig(plan, trafficFolder: folder.path)
        #expect(first.stop { first.counters.slotsSkipped(.traffic) >= 2 })
        #expect(first.counters.measurementsSucceeded.total >= 2)
        let second = try Rig(plan, trafficFolder: folder.path)
        #expect(second.stop { second.counters.slotsSkipped(.traffic) >= 3 })
        #expect(second.counters.measurementsSucceeded.total <= 1)
    }

    @Test func `another plan takes the place of the first without a pause`() throws {
        let silent = try silentServer()
        let target = try LocalTarget()
        defer { target.stop() }
        var first = try plan(silent.url)
        first.timeout = .seconds(600)
        first.inFlightMax = 1
        let rig = try Rig(first)
        #expect(eventually { rig.counters.slotsSkipped(.busy) > 0 })
        // What is under way goes on, and takes one of the two places.
        var second = try plan("\(target.httpURL)/fast")
        second.inFlightMax = 2
        rig.conductor.adopt(second)
        #expect(eventually { rig.spool.status.depth >= 3 })
        #expect(rig.conductor.inFlight >= 1)
        rig.conductor.adopt(MeasurementPlan(targets: []))
        #expect(rig.stop { true })
    }
}
