internal import OwnedThreads
internal import Telemetry
package import Transport

/// Measures round trips to a server while a transfer fills the path to it.
///
/// - `rtt_ms`: the median of the kernel's round-trip times of TCP handshakes on fresh connections, before the load.
/// - `loaded_rtt_ms`: the median of the same, of handshakes that began after the load's ramp (``RateSeries``) and ended
///   before the load did. Absent below ``samplesMin`` of them.
/// - `throughput_mbps`: of the load, as ``TransferMeter`` has it.
/// - `dns_ms`, `tcp_ms`, `tls_ms`: of the first connection.
///
/// Two things differ from draft-ietf-ippm-responsiveness. The load is a transfer over a fixed number of connections,
/// instead of one more in every interval. And as HTTP/1.1 cannot send a request on a connection that is carrying a
/// body, the round trips of the load-carrying connections are TCP's own, of `TCP_INFO`: they have the
/// queues of the path in them but not those of the server above TCP.
package struct LoadedMeter: Sendable {
    /// The fewest loaded round trips whose median is told.
    package static let samplesMin = 3
    /// The fewest of which the 95th percentile is not merely the largest.
    static let percentileSamplesMin = 20
    private static let idleSamples = 10
    /// The longest time for the round trips without load.
    private static let idleTimeMax = Duration.seconds(2)
    /// From one round trip's begin to the next, per thread.
    private static let gap = Duration.milliseconds(200)
    /// Threads that measure round trips: on a path with long queues each takes seconds.
    private static let threads = 4
    /// The intervals over which changes are judged (ID).
    fileprivate static let interval = Duration.seconds(1)

    private let dialer: Dialer
    private let userAgent: String

    package init(dialer: Dialer, userAgent: String) {
        self.dialer = dialer
        self.userAgent = userAgent
    }

    /// Measures `target` once; returns within the patience whatever the network does.
    package func measure(_ target: LoadedTarget, _ patience: Patience) -> MeasurementOutcome {
        var measurement = Measurement(startedAt: .now())
        let probe = RoundTripProbe(
            dialer: dialer, url: target.url.with(requestTarget: target.smallPath ?? "/"),
            family: target.family, userAgent: userAgent)
        var progress = Dialer.Progress()
        let idle: [RoundTripProbe.Sample]
        do throws(TransferFailure) {
            idle = try measureIdle(probe, patience, &progress)
        } catch {
            measurement.record(progress)
            return measurement.failed(by: error.cause, in: error.stage)
        }
        measurement.record(progress)
        let idleTimes = idle.compactMap { $0.roundTrip?.inMilliseconds }
        let idleMedian = Statistics.median(idleTimes)
        measurement.metrics[.rtt] = idleMedian.flatMap { MetricValue($0, of: .rtt) }
        measurement.note("idle_samples", idleTimes.count)

        guard let address = progress.remoteAddress else {
            preconditionFailure("a round trip was made to some address")
        }
        let run: Run
        do throws(TransportError) {
            run = try measureLoaded(target, probe, at: address, patience)
        } catch {
            return .notMeasured(reason: error.message)
        }
        switch run.load {
        case .failure(.own(let error)): return .notMeasured(reason: error.message)
        case .failure(.network(let failure)):
            return measurement.failed(by: failure.cause, in: failure.stage)
        case .success(let load):
            measurement.record(run, load, idleMedian: idleMedian)
            return measurement.outcome(of: load, target.direction)
        }
    }

    /// Round trips before the load; at least one, or its failure.
    private func measureIdle(
        _ probe: RoundTripProbe, _ patience: Patience, _ progress: inout Dialer.Progress
    ) throws(TransferFailure) -> [RoundTripProbe.Sample] {
        let end = MonotonicInstant.now().advanced(
            by: min(Self.idleTimeMax, patience.remaining / 4))
        var samples = [try probe.measure(patience, &progress)]
        while samples.count < Self.idleSamples, MonotonicInstant.now() < end {
            var next = Dialer.Progress()
            do throws(TransferFailure) {
                samples.append(
                    try probe.measure(
                        at: progress.remoteAddress, patience.ending(by: end), &next))
            } catch {
                // The time is up, or one of several is lost; the load will tell if the server is gone.
                break
            }
        }
        return samples
    }

    /// Why there was no load.
    enum LoadFailure: Error, Sendable {
        case own(TransportError)
        case network(TransferFailure)
    }

    /// What the threads of a measurement found.
    struct Run: Sendable {
        var load: Result<TransferLoad.Result, LoadFailure> = .failure(
            .own(TransportError(.interrupted, "the load has not begun")))
        var samples: [RoundTripProbe.Sample] = []
        var failed = 0
        var hasBegun = false
        var isOver = false
    }

    private func measureLoaded(
        _ target: LoadedTarget, _ probe: RoundTripProbe, at address: SocketAddress,
        _ patience: Patience
    ) throws(TransportError) -> Run {
        let over = try Interrupt()
        let shared = Monitor(Run())
        var threads = (0..<Self.threads).map { index in
            OwnedThread(ifPossible: "round-trips-\(index)") {
                let begins = shared.wait(until: nil) { run -> Bool? in
                    run.isOver ? false : run.hasBegun ? true : nil
                }
                guard begins == true else { return }
                // Spread over the gap, so that the threads do not measure the same moment.
                over.sleep(for: Self.gap / Self.threads * index)
                Self.measure(
                    probe, at: address, Patience(until: patience.deadline, interrupt: over), shared)
            }
        }
        if !threads.contains(where: { $0 == nil }) {
            threads.append(
                OwnedThread(ifPossible: "load") {
                    let result = load(target, patience) { shared.update { $0.hasBegun = true } }
                    shared.update { run in
                        run.load = result
                        run.isOver = true
                    }
                    over.trigger()
                })
        }
        let started = threads.compactMap(\.self)
        if started.count < threads.count { shared.update { $0.isOver = true } }
        for thread in started { thread.join() }
        guard started.count == Self.threads + 1 else { throw TransportError(.system, noThread) }
        return shared.withLock { $0 }
    }

    /// One round trip after the other until the load is over.
    private static func measure(
        _ probe: RoundTripProbe, at address: SocketAddress, _ patience: Patience,
        _ shared: Monitor<Run>
    ) {
        guard let over = patience.interrupt else {
            preconditionFailure("the load's end interrupts")
        }
        while !over.isTriggered, patience.remaining > .zero {
            let next = MonotonicInstant.now().advanced(by: gap)
            var progress = Dialer.Progress()
            do throws(TransferFailure) {
                let sample = try probe.measure(at: address, patience, &progress)
                shared.withLock { $0.samples.append(sample) }
            } catch {
                // What the load's end cut short has not failed.
                if !over.isTriggered { shared.withLock { $0.failed += 1 } }
            }
            over.sleep(for: next.since(.now()))
        }
    }

    private func load(
        _ target: LoadedTarget, _ patience: Patience, begun: () -> Void
    ) -> Result<TransferLoad.Result, LoadFailure> {
        var dialled = TransferDialer.Dialled()
        do throws(TransportError) {
            try TransferDialer(dialer: dialer).dial(
                target.url, target.family, target.budget, patience, &dialled)
        } catch {
            return .failure(
                .network(
                    TransferFailure(stage: dialled.progress.stage, cause: .transport(error))))
        }
        var load = TransferLoad(
            target.direction, target.budget, dialled.connections, to: target.url,
            userAgent: userAgent)
        do throws(TransportError) {
            return .success(try load.run(patience) { _ in begun() })
        } catch {
            return .failure(.own(error))
        }
    }
}

extension Measurement {
    fileprivate mutating func record(
        _ run: LoadedMeter.Run, _ load: TransferLoad.Result, idleMedian: Double?
    ) {
        note("failed_round_trips", run.failed)
        // Without a load there are no round trips under it.
        guard load.failure == nil, load.stall == nil else { return }
        // A load that was too short to have had a ramp was one as a whole.
        let ramp = load.series.steady?.ramp ?? load.series.duration
        let begin = load.began.advanced(by: ramp)
        let samples = run.samples.filter { $0.began >= begin && $0.connected <= load.ended }
        let own = load.roundTrips.filter { $0.at >= begin && $0.at <= load.ended }
        recordRoundTrips(samples, idleMedian: idleMedian)
        let ownTimes = own.map(\.roundTrip.inMilliseconds)
        note("transport_rtt_ms", Statistics.median(ownTimes))
        let responsiveness = LoadedMeter.responsiveness(of: samples, ownTimes)
        note("rpm", responsiveness.perMinute?.rounded())
        note("rpm_foreign", responsiveness.foreign?.rounded())
        note("rpm_self", responsiveness.own?.rounded())
        if responsiveness.perMinute != nil {
            note("rpm_confidence", LoadedMeter.confidence(of: run, load).rawValue)
        }
    }

    private mutating func recordRoundTrips(
        _ samples: [RoundTripProbe.Sample], idleMedian: Double?
    ) {
        let times = samples.compactMap { $0.roundTrip?.inMilliseconds }
        note("loaded_samples", times.count)
        guard times.count >= LoadedMeter.samplesMin, let median = Statistics.median(times) else {
            note(
                "loaded_rtt_absent",
                "fewer than \(LoadedMeter.samplesMin) round trips after the ramp; raise max-time and"
                    + " max-bytes")
            return
        }
        metrics[.loadedRTT] = MetricValue(median, of: .loadedRTT)
        note("rtt_increase_ms", idleMedian.map { median - $0 })
        if times.count >= LoadedMeter.percentileSamplesMin {
            note("loaded_rtt_p95_ms", Statistics.percentile(95, of: times))
        }
    }
}

extension LoadedMeter {
    fileprivate static func responsiveness(
        of samples: [RoundTripProbe.Sample], _ own: [Double]
    ) -> Responsiveness {
        Responsiveness(
            tcp: samples.map(\.tcp.inMilliseconds),
            tls: samples.compactMap { $0.tlsRoundTrip?.inMilliseconds },
            http: samples.map(\.http.inMilliseconds), loaded: own)
    }

    /// The confidence by the whole intervals of the load, its ramp included.
    fileprivate static func confidence(
        of run: Run, _ load: TransferLoad.Result
    ) -> Responsiveness.Confidence {
        let count = Int(load.series.duration.wholeNanoseconds / interval.wholeNanoseconds)
        let perMinute = (0..<count).map { index -> Double? in
            let begin = load.began.advanced(by: interval * index)
            let end = load.began.advanced(by: interval * (index + 1))
            return responsiveness(
                of: run.samples.filter { $0.began >= begin && $0.began < end },
                load.roundTrips.filter { $0.at >= begin && $0.at < end }
                    .map(\.roundTrip.inMilliseconds)
            ).perMinute
        }
        return Responsiveness.confidence(
            goodput: load.series.rates(every: interval), perMinute: perMinute)
    }
}
