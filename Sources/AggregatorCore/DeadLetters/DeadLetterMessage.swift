package import Store

/// A dead letter as a message of the stream `TELEMETRY_DLQ`.
package enum DeadLetterMessage {
    /// The letter's key as `STREAM/PARTITION/SEQUENCE/INDEX`; also its `Nats-Msg-Id`.
    package static let keyHeader = "Qoe-Key"
    package static let streamHeader = "Qoe-Stream"
    package static let partitionHeader = "Qoe-Partition"
    package static let sequenceHeader = "Qoe-Sequence"
    package static let indexHeader = "Qoe-Index"
    package static let reasonHeader = "Qoe-Reason"
    package static let detailHeader = "Qoe-Detail"
    /// `message`, or `event` for a block made of one event.
    package static let formHeader = "Qoe-Payload"
    /// `true` when the payload is only the beginning of what the letter is about.
    package static let truncatedHeader = "Qoe-Truncated"

    /// Details are for people: a longer one is cut.
    private static let detailBytesMax = 1024

    package static func id(of key: DeadLetterKey) -> String {
        "\(key.stream)/\(key.partition)/\(key.sequence)/\(key.index)"
    }

    package static func headers(
        for letter: StoredDeadLetter, _ content: DeadLetterSource.Content
    ) -> [(name: String, value: String)] {
        let key = letter.key
        return [
            ("Nats-Msg-Id", id(of: key)),
            (keyHeader, id(of: key)),
            (streamHeader, headerText(key.stream)),
            (partitionHeader, "\(key.partition)"),
            (sequenceHeader, "\(key.sequence)"),
            (indexHeader, "\(key.index)"),
            (reasonHeader, headerText(letter.reason)),
            (detailHeader, headerText(letter.detail)),
            (formHeader, content.form.rawValue),
            (truncatedHeader, content.isTruncated ? "true" : "false"),
        ]
    }

    /// `text` as a header can carry it: one line of printable ASCII.
    private static func headerText(_ text: String) -> String {
        let characters = text.unicodeScalars.prefix(detailBytesMax).map { scalar in
            (" "..."~").contains(scalar) ? Character(scalar) : "?"
        }
        return String(characters)
    }
}

/// The most bytes of a message that the table keeps.
let letterByteCountMax = 4096
