internal import Telemetry

/// Which events may be at a server without our knowing: those of the last batch that a post was begun with.
///
/// A pure value. Its text is written over the one before, so a kill in the middle leaves lines of both, or one that
/// says nothing: then more events are posted again than need be, which ingest recognises, and none fewer.
struct PostingNote {
    private var numbers: [UniqueID: [ClosedRange<UInt64>]] = [:]

    init(_ events: [SpooledEvent]) {
        for event in events {
            let last = numbers[event.session]?.last
            if let last, last.upperBound < .max, last.upperBound + 1 == event.number {
                numbers[event.session]?.removeLast()
                numbers[event.session]?.append(last.lowerBound...event.number)
            } else {
                numbers[event.session, default: []].append(event.number...event.number)
            }
        }
    }

    init(text: String) {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 3, let session = UniqueID(words[0]),
                let first = UInt64(words[1]), let last = UInt64(words[2]), first <= last
            else { continue }
            numbers[session, default: []].append(first...last)
        }
    }

    func contains(_ number: UInt64, of session: UniqueID) -> Bool {
        numbers[session]?.contains { $0.contains(number) } ?? false
    }

    /// A line for each stretch: the session, the first and the last number.
    var text: String {
        var text = ""
        for (session, stretches) in numbers {
            for stretch in stretches {
                text += "\(session) \(stretch.lowerBound) \(stretch.upperBound)\n"
            }
        }
        return text
    }
}
