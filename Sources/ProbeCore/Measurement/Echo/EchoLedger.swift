package import Transport

/// What was sent in a train of echo requests and what came back, and what follows from it.
///
/// A pure value: knows no sockets and no clock. Packets are numbered in the order in which they were sent.
package struct EchoLedger: Sendable {
    private struct Packet {
        let sentAt: MonotonicInstant
        /// Of the first answer in time.
        var roundTrip: Duration?
    }

    /// How long after its request an answer counts.
    private let patience: Duration
    private var packets: [Packet] = []
    private var received = 0
    private var late = 0
    private var duplicates = 0
    private var reordered = 0
    /// The number after the highest that was answered in time: RFC 4737's *NextExp*.
    private var nextExpected = 0
    /// The packets whose first answer came, in time or late.
    private var answered: Set<Int> = []

    package init(patience: Duration) {
        self.patience = patience
    }

    /// How many packets were sent: the next one's number.
    package var sentCount: Int { packets.count }

    /// Whether every packet sent so far has its answer.
    package var isComplete: Bool { answered.count == packets.count }

    /// Notes that the next packet was sent.
    package mutating func recordSent(at instant: MonotonicInstant) {
        packets.append(Packet(sentAt: instant, roundTrip: nil))
    }

    /// When a packet was sent; nil for one that was not.
    package func sentAt(_ number: Int) -> MonotonicInstant? {
        packets.indices.contains(number) ? packets[number].sentAt : nil
    }

    /// Notes an answer, in the order of arrival; one to a packet that was not sent changes nothing.
    package mutating func recordAnswer(to number: Int, at instant: MonotonicInstant) {
        guard packets.indices.contains(number) else { return }
        guard answered.insert(number).inserted else {
            duplicates += 1
            return
        }
        let roundTrip = instant.since(packets[number].sentAt)
        guard roundTrip <= patience else {
            late += 1
            return
        }
        packets[number].roundTrip = roundTrip
        received += 1
        if number < nextExpected { reordered += 1 } else { nextExpected = number + 1 }
    }

    /// What the train found.
    package var summary: EchoSummary {
        var runs: [Int] = []
        var run = 0
        var differences = Duration.zero
        var pairs = 0
        var before: Duration?
        for packet in packets {
            if let roundTrip = packet.roundTrip {
                if run > 0 { runs.append(run) }
                run = 0
                if let before {
                    let difference = roundTrip - before
                    differences += difference < .zero ? .zero - difference : difference
                    pairs += 1
                }
            } else {
                run += 1
            }
            before = packet.roundTrip
        }
        if run > 0 { runs.append(run) }
        return EchoSummary(
            sent: packets.count, received: received, late: late, lossRuns: runs,
            duplicates: duplicates, reordered: reordered,
            roundTrips: EchoSummary.RoundTrips(packets.compactMap(\.roundTrip)),
            jitter: pairs > 0 ? differences / pairs : nil)
    }
}

/// What a train of echo requests found.
package struct EchoSummary: Sendable, Equatable {
    /// Quantiles by nearest rank: the *q*-quantile of *n* values is the one of rank ⌈q·n⌉.
    package struct RoundTrips: Sendable, Equatable {
        package let least: Duration
        package let median: Duration
        package let percentile95: Duration
        package let most: Duration

        /// Nil without values.
        init?(_ values: [Duration]) {
            let sorted = values.sorted()
            guard let first = sorted.first, let last = sorted.last else { return nil }
            func quantile(percent: Int) -> Duration {
                sorted[max(1, (sorted.count * percent + 99) / 100) - 1]
            }
            least = first
            median = quantile(percent: 50)
            percentile95 = quantile(percent: 95)
            most = last
        }
    }

    package let sent: Int
    /// Packets that were answered in time.
    package let received: Int
    /// Packets whose first answer came after the patience; they count as lost.
    package let late: Int
    /// How many packets in a row were lost, for each time that happened, in the order of sending.
    package let lossRuns: [Int]
    /// Answers beyond the first of their packet (RFC 5560).
    package let duplicates: Int
    /// Answers that came after that of a later packet (RFC 4737, section 3), duplicates and late ones aside.
    package let reordered: Int
    /// Nil when nothing was received.
    package let roundTrips: RoundTrips?
    /// The mean absolute difference of the round trips of neighbouring packets that were both answered; nil when no
    /// two neighbours were.
    package let jitter: Duration?

    /// The share of the packets sent that was lost; nil when none was sent.
    package var lossPercent: Double? {
        sent > 0 ? Double(sent - received) * 100 / Double(sent) : nil
    }
}
