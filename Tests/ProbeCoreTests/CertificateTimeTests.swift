import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@testable import ProbeCore

/// Certificates on a machine whose wall clock is wrong.
@Suite struct CertificateTimeTests {
    private let machine = SettableMachine()

    private func measure(_ target: LocalTarget, by clock: ReferenceClock) throws -> Measurement {
        let resolver = Resolver()
        defer { resolver.shutDown() }
        let tls = try TLSContext.client(
            authorityFile: target.authorityFile, nowSeconds: { clock.nowSeconds })
        let meters = Meters(
            dialer: Dialer(resolver: resolver, tls: tls), timeout: .seconds(20),
            bodyBytesMax: 1 << 20, userAgent: "test")
        switch meters.measure(try Target("\(target.httpsURL)/fast")) {
        case .measured(let measurement): return measurement
        case .notMeasured(let reason): throw NotMeasured(reason: reason)
        }
    }

    @Test(arguments: [-10 * yearSeconds, 10 * yearSeconds])
    func `a target's certificate is judged by ingest's time once that is known`(
        seconds: Int64
    ) throws {
        let target = try LocalTarget()
        defer { target.stop() }
        machine.setWall(offBy: seconds)
        let clock = machine.clock()
        #expect(try measure(target, by: clock).failure?.stage == .tls)
        clock.add(machine.exchange(), with: 0)
        let measurement = try measure(target, by: clock)
        #expect(measurement.failure == nil)
        let left = measurement.details.first { $0.name == "certificate_days_left" }
        guard case .number(let days) = left?.value else {
            Issue.record("no days left: \(String(describing: left))")
            return
        }
        #expect(days > 0 && days < 1000, "\(days)")
    }

    @Test func `without ingest's time it is none that an earlier run has known to be over`() throws
    {
        let folder = try OwnFolder()
        machine.setWall(offBy: 3600)
        let first = machine.clock(stateFolder: folder.path)
        first.add(machine.exchange(), with: 0)
        let then = machine.trueNanoseconds / 1_000_000_000
        #expect(abs(first.nowSeconds - then) <= 1)

        machine.setWall(offBy: -30 * yearSeconds)
        let inNextBoot = machine.clock(stateFolder: folder.path, boot: 8)
        #expect(inNextBoot.reading().estimate == nil)
        #expect(abs(inNextBoot.nowSeconds - then) <= 1)
        machine.setWall(offBy: 7200)
        #expect(abs(inNextBoot.nowSeconds - then - 7200) <= 2)
        let elsewhere = machine.clock(stateFolder: nil, boot: 9)
        #expect(abs(elsewhere.nowSeconds - then - 7200) <= 2)
    }
}
