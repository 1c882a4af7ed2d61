internal import Telemetry
internal import Transport

/// One train under way: sends on time, and reads meanwhile. One thread, the caller's, does both.
struct EchoRun {
    private(set) var ledger: EchoLedger
    /// Packets that this machine had no way to send.
    private(set) var unsent = 0
    /// Received packets that belong to nobody's request of this train.
    private(set) var foreign = 0
    /// Answers that say only that the host is there.
    private(set) var refusals = 0
    /// Answers whose arrival is when this process read them, not when the machine received them.
    private(set) var timedByProcess = 0
    /// Why packets were lost or not sent, and how often.
    private(set) var reasons: [String: Int] = [:]

    private let train: EchoTrain

    /// Different reasons that are kept; more are counted as one.
    private static let reasonsMax = 8
    /// A train that is this late, as the machine was busy or asleep, keeps its gaps and shifts, so that it
    /// never sends what it missed in a burst.
    private static let latenessMax = Duration.milliseconds(5)
    /// After this many packets sending has its turn.
    private static let receptionsMax = 64
    /// How long a train that has all its answers still listens for duplicates, at least.
    private static let lingeringMin = Duration.milliseconds(20)

    init(_ train: EchoTrain) {
        self.train = train
        ledger = EchoLedger(patience: train.patience)
    }

    /// Sends the train and collects its answers.
    ///
    /// - Parameter gaps: Between the packets, one fewer than the train has.
    /// - Throws: ``TransportError``: interrupted, or why this machine cannot measure.
    mutating func run(
        over carrier: some EchoCarrier, gaps: [Duration], _ interrupt: Interrupt?
    ) throws(TransportError) {
        var due = MonotonicInstant.now()
        var lastSent = due
        for step in 0...gaps.count {
            if step > 0 {
                let now = MonotonicInstant.now()
                if now.since(due) > Self.latenessMax { due = now }
                due = due.advanced(by: gaps[step - 1])
            }
            try collect(from: carrier, until: due, interrupt) { _ in false }
            do throws(TransportError) {
                let sentAt = try carrier.send(ledger.sentCount)
                ledger.recordSent(at: sentAt)
                lastSent = sentAt
            } catch {
                guard error.code == .unreachable else { throw error }
                unsent += 1
                note(error.message)
            }
        }
        guard ledger.sentCount > 0 else { return }
        try collect(
            from: carrier, until: lastSent.advanced(by: train.patience), interrupt
        ) { $0.ledger.isComplete }
        let longest = ledger.summary.roundTrips?.most ?? .zero
        let lingering = MonotonicInstant.now().advanced(by: max(longest, Self.lingeringMin))
        let end = min(lingering, lastSent.advanced(by: train.patience))
        try collect(from: carrier, until: end, interrupt) { _ in false }
    }

    private mutating func collect(
        from carrier: some EchoCarrier, until deadline: MonotonicInstant, _ interrupt: Interrupt?,
        orWhen isDone: (EchoRun) -> Bool
    ) throws(TransportError) {
        while true {
            for _ in 0..<Self.receptionsMax {
                guard let reception = try carrier.socket.receive() else { break }
                take(carrier.meaning(of: reception))
            }
            if isDone(self) || MonotonicInstant.now() >= deadline { return }
            try carrier.socket.wait(until: deadline, interrupt)
        }
    }

    private mutating func take(_ meaning: EchoMeaning) {
        switch meaning {
        case .answer(let number, let arrival): take(answerTo: number, arrival)
        case .refusal(let number, let arrival):
            refusals += 1
            take(answerTo: number, arrival)
        case .lost(let reason): note(reason)
        case .foreign: foreign += 1
        }
    }

    private mutating func take(answerTo number: Int, _ arrival: DatagramArrival) {
        guard let sentAt = ledger.sentAt(number) else {
            foreign += 1
            return
        }
        let isPlausible = arrival.instant >= sentAt
        if !arrival.isKernelTimed || !isPlausible { timedByProcess += 1 }
        ledger.recordAnswer(
            to: number, at: isPlausible ? arrival.instant : arrival.readAt)
    }

    private mutating func note(_ reason: String) {
        let isKept = reasons[reason] != nil || reasons.count < Self.reasonsMax
        reasons[isKept ? reason : "other reasons", default: 0] += 1
    }

    /// The reasons for people: `host unreachable, says 192.0.2.1 (3 times)`.
    var reasonText: String? {
        if reasons.isEmpty { return nil }
        let sorted = reasons.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return sorted.map { $0.value == 1 ? $0.key : "\($0.key) (\($0.value) times)" }
            .joined(separator: "; ")
    }

    /// Why the train failed; nil when it went as it should or lost only a part.
    var failure: Measurement.Failure? {
        let because = reasonText.map { ": \($0)" } ?? ""
        let summary = ledger.summary
        if summary.sent == 0 {
            return .init(stage: .tcp, message: "no packet could be sent\(because)")
        }
        if summary.received == 0 {
            return .init(
                stage: .tcp, message: "no answer to any of \(summary.sent) packets\(because)")
        }
        if unsent > 0 {
            return .init(
                stage: .tcp,
                message: "\(unsent) of \(train.count) packets could not be sent\(because)")
        }
        return nil
    }
}

extension Measurement {
    /// Records what a train found.
    ///
    /// - Parameter countsLoss: Whether an answer that is missing means that a packet was lost. Where answers are
    ///   refusals it does not: hosts limit how many of those they send (RFC 1812, section 4.3.2.8).
    mutating func record(_ run: EchoRun, countsLoss: Bool = true) {
        let countsLoss = countsLoss && run.refusals == 0
        let summary = run.ledger.summary
        record(summary.roundTrips?.median, as: .rtt)
        record(summary.jitter, as: .jitter)
        if countsLoss, let loss = summary.lossPercent {
            metrics[.loss] = MetricValue(loss, of: .loss)
        }
        failure = run.failure
        details += [
            MeasurementDetail("sent", .integer(summary.sent)),
            MeasurementDetail("received", .integer(summary.received)),
        ]
        if run.refusals > 0 { details.append(MeasurementDetail("refused", .integer(run.refusals))) }
        if run.unsent > 0 { details.append(MeasurementDetail("unsent", .integer(run.unsent))) }
        if countsLoss, summary.sent > 0 {
            details.append(MeasurementDetail("loss_runs", .integers(summary.lossRuns)))
        }
        details += [
            MeasurementDetail("late", .integer(summary.late)),
            MeasurementDetail("duplicates", .integer(summary.duplicates)),
            MeasurementDetail("reordered", .integer(summary.reordered)),
        ]
        if let roundTrips = summary.roundTrips {
            details += [
                MeasurementDetail("rtt_min_ms", .number(roundTrips.least.inMilliseconds)),
                MeasurementDetail("rtt_median_ms", .number(roundTrips.median.inMilliseconds)),
                MeasurementDetail("rtt_p95_ms", .number(roundTrips.percentile95.inMilliseconds)),
                MeasurementDetail("rtt_max_ms", .number(roundTrips.most.inMilliseconds)),
            ]
        }
        details += [
            MeasurementDetail("foreign_packets", .integer(run.foreign)),
            MeasurementDetail("timed_by_process", .integer(run.timedByProcess)),
        ]
        if let reasons = run.reasonText {
            details.append(MeasurementDetail("loss_reasons", .text(reasons)))
        }
    }
}
