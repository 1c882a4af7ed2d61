internal import Blocks
internal import Bus
package import NATSClient
internal import Postgres
package import Store
package import Telemetry

/// Where the content of dead letters is found.
package struct DeadLetterSource {
    /// What there is of a letter.
    package struct Content: Hashable, Sendable {
        package var bytes: [UInt8]
        package var form: Form
        /// Whether more belonged to it, which is gone.
        package var isTruncated: Bool

        package init(bytes: [UInt8], form: Form, isTruncated: Bool) {
            self.bytes = bytes
            self.form = form
            self.isTruncated = isTruncated
        }
    }

    package enum Form: String, Sendable {
        /// The message as it was published.
        case message
        /// A block made of the one event.
        case event
    }

    /// A message is this much younger than its letter at most, ms: the clocks of NATS and PostgreSQL differ.
    private static let clockDifferenceMax: Int64 = 60_000
    /// A JSON message with a bad event is handed on whole up to this size: one letter per event must not
    /// multiply a large message.
    private static let jsonByteCountMax = 64 << 10

    private let jetStream: JetStream

    package init(_ jetStream: JetStream) {
        self.jetStream = jetStream
    }

    /// The subject that a letter's message was published to; nil for a stream that is not ours.
    package static func subject(of key: DeadLetterKey) -> String? {
        switch key.stream {
        case BusStream.events: BusSubject.events(partition: key.partition)
        case BusStream.heartbeats: BusSubject.heartbeats
        default: nil
        }
    }

    /// The message that a letter is about, or nil when its stream does not hold it any more.
    ///
    /// A stream that was made anew has other messages under the same sequences: subject, time and first bytes
    /// must fit.
    package func message(of letter: StoredDeadLetter) throws(NATSError) -> [UInt8]? {
        let found: StoredMessage
        do throws(NATSError) {
            found = try jetStream.message(
                inStream: letter.key.stream, sequence: letter.key.sequence)
        } catch {
            let isGone =
                JetStreamErrorCode.messageNotFound ~= error
                || JetStreamErrorCode.streamNotFound ~= error || error.code == .notFound
            guard isGone else { throw error }
            return nil
        }
        let bytes = found.message.withUnsafePayload { Array($0) }
        let storedAt = found.timestampNanoseconds / 1_000_000
        guard found.subject == Self.subject(of: letter.key),
            storedAt <= letter.recordedAt.milliseconds &+ Self.clockDifferenceMax,
            bytes.starts(with: letter.payload)
        else { return nil }
        return bytes
    }

    /// What to hand on for a letter: its message, the one event of a block, or what the table keeps.
    package func content(of letter: StoredDeadLetter) throws(NATSError) -> Content {
        guard let bytes = try message(of: letter) else { return Self.kept(of: letter) }
        guard letter.key.index >= 0 else {
            return Content(bytes: bytes, form: .message, isTruncated: false)
        }
        if let event = Self.block(ofEvent: letter.key.index, in: bytes, producer: .zero) {
            return Content(bytes: event, form: .event, isTruncated: false)
        }
        guard bytes.count > Self.jsonByteCountMax else {
            return Content(bytes: bytes, form: .message, isTruncated: false)
        }
        return Content(
            bytes: Array(bytes.prefix(letterByteCountMax)), form: .message, isTruncated: true)
    }

    /// What the table keeps of a letter: its message's first bytes, which may be all of it.
    package static func kept(of letter: StoredDeadLetter) -> Content {
        Content(
            bytes: letter.payload, form: .message,
            isTruncated: letter.key.index >= 0 || letter.payload.count >= letterByteCountMax)
    }

    /// A block that holds the event `index` of the block `bytes` alone; nil when they are no block or have no
    /// such event.
    package static func block(
        ofEvent index: Int, in bytes: [UInt8], producer: UniqueID
    ) -> [UInt8]? {
        guard let block = try? ValidatedBlock(bytes), (0..<block.eventCount).contains(index) else {
            return nil
        }
        return block.withReader { reader in
            var builder = BlockBuilder(
                partition: reader.partition, producer: producer,
                byteCountMax: BlockFormat.byteCountMax)
            let isTaken = builder.append(
                reader.event(index),
                receivedAtMilliseconds: reader.record(index).receivedAtMilliseconds)
            return isTaken ? builder.seal(blockNumber: 1) : nil
        }
    }
}
