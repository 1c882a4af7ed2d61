import FoundationEssentials
import OwnedThreads
import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@testable import ProbeCore

/// A machine whose wall clock a test sets, and on which time passes by itself only if it shall.
final class SettableMachine: Sendable {
    /// The one moment of a machine that stands still.
    private let frozen: MeasurementMoment?
    private let shifts = Monitor<(wall: Int64, boot: Int64)>((0, 0))

    init(standsStill: Bool = false) {
        frozen = standsStill ? .now() : nil
    }

    /// Sets the wall clock this far from the true time, seconds.
    func setWall(offBy seconds: Int64) {
        shifts.update { $0.wall = seconds * 1_000_000_000 }
    }

    /// Lets time pass on both clocks.
    func pass(seconds: Int64) {
        shifts.update { $0.boot += seconds * 1_000_000_000 }
    }

    func now() -> MeasurementMoment {
        let real = frozen ?? MeasurementMoment.now()
        let shifts = shifts.withLock { $0 }
        return MeasurementMoment(
            wallNanoseconds: real.wallNanoseconds + shifts.wall + shifts.boot,
            boottime: BoottimeInstant(nanoseconds: real.boottime.nanoseconds + shifts.boot))
    }

    /// The true time, Unix nanoseconds.
    var trueNanoseconds: Int64 {
        let shift = shifts.withLock { $0.wall }
        return now().wallNanoseconds - shift
    }

    /// An exchange with a server that has the true time.
    func exchange(serverAheadBySeconds ahead: Int64 = 0) -> TimeExchange {
        let asked = now().boottime
        let server = trueNanoseconds + ahead * 1_000_000_000
        return TimeExchange(
            asked: asked, serverReceived: server, serverSent: server, answered: now().boottime,
            resolution: 1000)
    }

    func clock(
        stateFolder: String? = nil, boot: UInt64 = 7, counters: ProbeCounters = ProbeCounters()
    ) -> ReferenceClock {
        ReferenceClock(
            stateFolder: stateFolder, boot: BootID(boot), counters: counters,
            logger: silentLogger, source: { self.now() })
    }
}

let yearSeconds: Int64 = 365 * 86_400

@Suite struct ReferenceClockTests {
    private let machine = SettableMachine(standsStill: true)

    /// How far a time is from the true one, milliseconds.
    private func error(_ milliseconds: Int64) -> Int64 {
        milliseconds - machine.trueNanoseconds / 1_000_000
    }

    @Test(arguments: [3600, -3600, 10 * yearSeconds, -10 * yearSeconds])
    func `the time is ingest's wherever the wall clock is set to, and every step is counted`(
        seconds: Int64
    ) throws {
        let counters = ProbeCounters()
        machine.setWall(offBy: -7200)
        let clock = machine.clock(counters: counters)
        #expect(clock.reading().correction == nil)
        clock.add(machine.exchange(), with: 0)
        let first = try #require(clock.reading().correction)
        #expect(abs(first.offsetNanoseconds - 7_200_000_000_000) < 1_000_000)
        #expect(first.uncertaintyNanoseconds > 0)
        machine.setWall(offBy: seconds)
        let reading = clock.reading()
        #expect(abs(error(reading.unixMilliseconds)) <= 1)
        let correction = try #require(reading.correction)
        #expect(abs(correction.offsetNanoseconds + seconds * 1_000_000_000) < 1_000_000)
        _ = clock.reading()
        #expect(clock.stepCount == 1)
        #expect(counters.clockSteps.total == 1)
        #expect(counters.lastError?.contains("wall clock was set by") == true)
    }

    @Test func `a restart in the same boot knows the time at once, and in another it does not`()
        throws
    {
        let folder = try OwnFolder()
        machine.setWall(offBy: 3600)
        let first = machine.clock(stateFolder: folder.path)
        first.add(machine.exchange(), with: 0)
        machine.setWall(offBy: -3600)
        machine.pass(seconds: 1000)
        let again = machine.clock(stateFolder: folder.path).reading()
        #expect(abs(error(again.unixMilliseconds)) <= 1)
        // What it is off by has grown with its age: 15 ppm of 1000 s.
        let uncertainty = try #require(again.correction?.uncertaintyNanoseconds)
        #expect(uncertainty >= 15_000_000 && uncertainty < 16_000_000)
        #expect(machine.clock(stateFolder: folder.path, boot: 8).reading().estimate == nil)
        // As a kill in the middle of writing, or a disk, may leave it.
        let file = "\(folder.path)/clock"
        let whole = try bytes(of: file)
        for length in 0..<whole.count - 1 {
            try writeBytes(Array(whole[..<length]), to: file)
            let reading = machine.clock(stateFolder: folder.path).reading()
            #expect(reading.estimate == nil, "\(length) bytes")
        }
        var random = SeededGenerator(seed: 1)
        for _ in 0..<200 {
            var damaged = whole
            let at = Int.random(in: 0..<whole.count - 1, using: &random)
            damaged[at] ^= UInt8.random(in: 1...255, using: &random)
            try writeBytes(damaged, to: file)
            #expect(machine.clock(stateFolder: folder.path).reading().estimate == nil)
        }
        // An older and longer line that was written over.
        try writeBytes(whole + Array("rest of the line\n".utf8), to: file)
        #expect(machine.clock(stateFolder: folder.path).reading().estimate != nil)
    }

    @Test func `another server's time is taken when it is followed, and ignored until then`() {
        let counters = ProbeCounters()
        let clock = machine.clock(counters: counters)
        clock.follow(0)
        for _ in 0..<4 { clock.add(machine.exchange(), with: 0) }
        for _ in 0..<4 { clock.add(machine.exchange(serverAheadBySeconds: 60), with: 1) }
        #expect(abs(error(clock.reading().unixMilliseconds)) <= 1)
        #expect(counters.exchanges(.agreed) == 4)
        #expect(counters.exchanges(.contradicted) == 0)
        clock.follow(1)
        for _ in 0..<4 { clock.add(machine.exchange(serverAheadBySeconds: 60), with: 1) }
        #expect(abs(error(clock.reading().unixMilliseconds) - 60_000) <= 1)
        #expect(counters.exchanges(.replaced) == 1)
        #expect(counters.exchanges(.contradicted) == 2)
    }

    @Test func `an exchange that cannot be is counted and changes nothing`() {
        let counters = ProbeCounters()
        let clock = machine.clock(counters: counters)
        let now = machine.now().boottime
        clock.add(
            TimeExchange(
                asked: now, serverReceived: 2, serverSent: 1, answered: now, resolution: 1000),
            with: 0)
        #expect(counters.exchanges(.unusable) == 1)
        #expect(clock.reading().estimate == nil)
    }
}

@Suite struct EventTimeTests {
    private let machine = SettableMachine(standsStill: true)

    private struct Timed: Decodable {
        let ts_ms: Int64
        let clock_offset_ms: Double?
        let clock_uncertainty_ms: Double?
        let clock_stepped: Bool?
        let seq: UInt64
        let event_id: String
        let session_id: String
    }

    private func decoded(_ event: SpooledEvent) throws -> Timed {
        try JSONDecoder().decode(Timed.self, from: Data(event.json))
    }

    private func numbering(_ spool: Spool, _ clock: ReferenceClock) -> EventNumbering {
        EventNumbering(
            clientID: "client", session: UniqueID(high: 1, low: 2),
            resolver: ResolverAddress(files: []), spool: spool, clock: clock)
    }

    private func take(_ spool: Spool?, _ clock: ReferenceClock) -> [SpooledEvent] {
        guard let spool else { return [] }
        let batch = spool.take(
            SpoolRequest(countMax: .max, bytesMax: .max), at: clock.reading())
        spool.putBack(batch)
        return batch.events
    }

    @Test func `an event has ingest's time, and says what was added to the wall clock`() throws {
        machine.setWall(offBy: -3600)
        let clock = machine.clock()
        clock.add(machine.exchange(), with: 0)
        let spool = try Spool(stateFolder: nil, logger: silentLogger)
        let started = machine.now()
        let trueStart = machine.trueNanoseconds / 1_000_000
        // Set while it is measured.
        machine.setWall(offBy: 3600)
        numbering(spool, clock).add(
            Measurement(startedAt: started), of: "http://target/", in: NetworkContext())
        numbering(spool, clock).add(
            Measurement(startedAt: machine.now()), of: "http://target/", in: NetworkContext())
        let events = try take(spool, clock).map(decoded)
        #expect(abs(events[0].ts_ms - trueStart) <= 1)
        #expect(abs((events[0].clock_offset_ms ?? 0) - 3_600_000) <= 1)
        #expect(try #require(events[0].clock_uncertainty_ms) > 0)
        #expect(events.map(\.clock_stepped) == [true, nil])
        #expect(abs(events[1].ts_ms - trueStart) <= 1)
        #expect(abs((events[1].clock_offset_ms ?? 0) + 3_600_000) <= 1)
    }

    @Test func `what was spooled before the time was known gets it in the same boot, and no other`()
        throws
    {
        let folder = try OwnFolder()
        machine.setWall(offBy: -20 * yearSeconds)
        var spool: Spool? = try Spool(stateFolder: folder.path, logger: silentLogger)
        var clock = machine.clock()
        let wall = machine.now().wallMilliseconds
        let before = machine.trueNanoseconds / 1_000_000
        numbering(try #require(spool), clock).add(
            Measurement(startedAt: machine.now()), of: "http://target/", in: NetworkContext())
        let untimed = try #require(take(spool, clock).first)
        let unknown = try decoded(untimed)
        #expect(unknown.clock_offset_ms == nil && unknown.clock_uncertainty_ms == nil)
        #expect(abs(unknown.ts_ms - wall) <= 1)

        // The probe restarts, the wall clock is set, and the time is learned half an hour later.
        spool = nil
        spool = try Spool(stateFolder: folder.path, logger: silentLogger)
        machine.setWall(offBy: 3600)
        machine.pass(seconds: 1800)
        clock = machine.clock()
        #expect(take(spool, clock) == [untimed])
        clock.add(machine.exchange(), with: 0)
        let timed = try decoded(try #require(take(spool, clock).first))
        #expect(abs(timed.ts_ms - before) <= 1)
        let offset = try #require(timed.clock_offset_ms)
        #expect(abs(offset - Double(20 * yearSeconds * 1000)) <= 1)
        // 15 ppm of 1800 s.
        #expect(try #require(timed.clock_uncertainty_ms) >= 27)
        #expect(timed.seq == unknown.seq && timed.event_id == unknown.event_id)
        #expect(timed.session_id == unknown.session_id)

        let otherBoot = machine.clock(boot: 8)
        otherBoot.add(machine.exchange(), with: 0)
        // Its age can now be told by its time alone: far too old for ingest.
        #expect(take(spool, otherBoot).isEmpty)
        #expect(spool?.status.lost == [.age: 1])
    }

    @Test func `only what begins with the time that was recorded is written over`() {
        let correction = ClockCorrection(
            offsetNanoseconds: -1_500_000, uncertaintyNanoseconds: 12)
        func replaced(_ text: String) -> String? {
            EventTimeText.replacing(12, with: 34, correction, in: Array(text.utf8)).map {
                String(decoding: $0, as: UTF8.self)
            }
        }
        #expect(
            replaced(#"{"ts_ms":12,"a":1}"#)
                == #"{"ts_ms":34,"clock_offset_ms":-1.5,"clock_uncertainty_ms":0.000012,"a":1}"#)
        for other in ["", "{}", #"{"ts_ms":123,"a":1}"#, #"{"a":1,"ts_ms":12}"#, #"{"ts_ms":12"#] {
            #expect(replaced(other) == nil)
        }
    }

    @Test(
        arguments: [3600, -3600, 10 * yearSeconds, -10 * yearSeconds], [true, false])
    func `a set wall clock makes nothing old or young`(seconds: Int64, isKnown: Bool) throws {
        let folder = try OwnFolder()
        let limits = SpoolLimits(bytesMax: 1 << 20, segmentBytesMax: 1 << 10, ageMax: .seconds(600))
        var spool = try Optional(
            Spool(stateFolder: folder.path, limits: limits, logger: silentLogger))
        let clock = machine.clock()
        if isKnown { clock.add(machine.exchange(), with: 0) }
        do {
            let numbering = numbering(try #require(spool), clock)
            for _ in 0..<20 {
                numbering.add(
                    Measurement(startedAt: machine.now()), of: "http://target/",
                    in: NetworkContext())
            }
        }
        machine.setWall(offBy: seconds)
        machine.pass(seconds: 300)
        spool?.tick(at: clock.reading())
        #expect(take(spool, clock).count == 20)
        let oldest = try #require(spool?.status.oldest)
        let age = try #require(clock.reading().age(of: oldest))
        #expect(age / 1_000_000_000 == 300)
        // After a restart as well, whether that knows the time or not.
        spool = nil
        spool = try Spool(stateFolder: folder.path, limits: limits, logger: silentLogger)
        let next = machine.clock()
        spool?.tick(at: next.reading())
        #expect(take(spool, next).count == 20)
        machine.pass(seconds: 301)
        spool?.tick(at: next.reading())
        #expect(take(spool, next).isEmpty)
        #expect(spool?.status.lost == [.age: 20])
    }

    @Test func `of an earlier boot nothing is dropped for its age while the time is not known`()
        throws
    {
        let spool = try Spool(stateFolder: nil, logger: silentLogger)
        numbering(spool, machine.clock(boot: 6)).add(
            Measurement(startedAt: machine.now()), of: "http://target/", in: NetworkContext())
        machine.setWall(offBy: 10 * yearSeconds)
        let clock = machine.clock()
        spool.tick(at: clock.reading())
        #expect(take(spool, clock).count == 1)
        #expect(spool.status.oldest.map { clock.reading().age(of: $0) } == .some(nil))
    }
}
