package import Telemetry

/// Which events a probe made and will never deliver, by session and number.
///
/// A pure value. Neighbouring numbers of one session and reason are one stretch. It is bounded: beyond
/// ``stretchCountMax`` the oldest stretches are only counted.
package struct DropLedger: Sendable, Equatable {
    /// Why an event is not delivered.
    package enum Reason: String, Sendable, CaseIterable {
        /// The spool was full and it was among the oldest.
        case full
        /// It was measured longer ago than ingest takes.
        case age
        /// Its bytes on disk are damaged.
        case corrupt
        /// The disk could not be written, and memory held enough.
        case memory
        /// Ingest refused it for good.
        case refused
    }

    /// Neighbouring numbers.
    package struct Stretch: Sendable, Equatable {
        package let session: UniqueID
        package fileprivate(set) var numbers: ClosedRange<UInt64>
        package let reason: Reason
    }

    /// The most stretches that are kept: of a full spool there is one for each session.
    package static let stretchCountMax = 2000
    /// How far back a neighbour is looked for: threads of one session, and few reasons at a time.
    private static let neighbourDistance = 8

    /// The stretches, in the order in which they began.
    package private(set) var stretches: [Stretch] = []
    /// Events of stretches that are no longer kept.
    package private(set) var forgotten: UInt64 = 0

    package init() {}

    package mutating func add(_ number: UInt64, of session: UniqueID, because reason: Reason) {
        let recent = stretches.indices.suffix(Self.neighbourDistance).reversed()
        for index in recent
        where stretches[index].session == session && stretches[index].reason == reason {
            let numbers = stretches[index].numbers
            if numbers.contains(number) { return }
            if numbers.upperBound < .max, numbers.upperBound + 1 == number {
                stretches[index].numbers = numbers.lowerBound...number
                return
            }
            if number < .max, number + 1 == numbers.lowerBound {
                stretches[index].numbers = number...numbers.upperBound
                return
            }
        }
        stretches.append(Stretch(session: session, numbers: number...number, reason: reason))
        if stretches.count > Self.stretchCountMax {
            let oldest = stretches.removeFirst()
            forgotten &+= Self.count(oldest.numbers)
        }
    }

    /// All events in it, with those whose numbers are no longer kept.
    package var total: UInt64 {
        stretches.reduce(forgotten) { $0 &+ Self.count($1.numbers) }
    }

    /// For looking up many numbers.
    var numbersBySession: [UniqueID: [ClosedRange<UInt64>]] {
        Dictionary(grouping: stretches, by: \.session).mapValues { $0.map(\.numbers) }
    }

    /// The form of the file: a line for each stretch, with the session, the first and the last number, and why.
    package var text: String {
        var text = "# Events that this probe made and will never deliver.\nforgotten \(forgotten)\n"
        for stretch in stretches {
            text +=
                "\(stretch.session) \(stretch.numbers.lowerBound) \(stretch.numbers.upperBound)"
                + " \(stretch.reason.rawValue)\n"
        }
        return text
    }

    /// What a file says; lines that say nothing are left out.
    package init(text: String) {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == "forgotten", let count = UInt64(words[1]) {
                forgotten = forgotten &+ count
            }
            guard words.count == 4, let session = UniqueID(words[0]),
                let first = UInt64(words[1]), let last = UInt64(words[2]), first <= last,
                let reason = Reason(rawValue: String(words[3]))
            else { continue }
            stretches.append(Stretch(session: session, numbers: first...last, reason: reason))
        }
        while stretches.count > Self.stretchCountMax {
            forgotten &+= Self.count(stretches.removeFirst().numbers)
        }
    }

    private static func count(_ numbers: ClosedRange<UInt64>) -> UInt64 {
        (numbers.upperBound - numbers.lowerBound) &+ 1
    }
}
