package import AggregatorCore
internal import Bus
internal import LogDecoding
package import NATSClient
package import Postgres
package import Store
package import Telemetry

/// Looks at dead letters and publishes them again.
///
/// Blocking: use it from one owned thread.
package struct DeadLetterDesk {
    private let store: DeadLetterStore
    private let connector: NATSConnector

    private static let connectLimit = Duration.seconds(5)
    private static let acknowledgementLimit = Duration.seconds(10)

    /// - Throws: ``OperatorError`` when the database has no schema.
    package init(database: PostgresConnection, connector: NATSConnector) throws(OperatorError) {
        try requireSchema(database)
        store = DeadLetterStore(database)
        self.connector = connector
    }

    package func list(
        _ filter: DeadLetterStore.Filter
    ) throws(PostgresError) -> [StoredDeadLetter] {
        try store.list(filter)
    }

    /// The letter with this key.
    package func letter(_ key: DeadLetterKey) throws -> StoredDeadLetter {
        guard let letter = try store.letter(key) else {
            throw OperatorError("there is no dead letter \(key): see qoectl dlq list")
        }
        return letter
    }

    // MARK: Content

    /// Where the content of a letter was found.
    package enum Place: String, Sendable {
        case original = "the stream of its message"
        case deadLetters = "TELEMETRY_DLQ"
        case table = "the table, which keeps the first 4096 bytes"
    }

    /// The content of a letter, from the first place that has all of it.
    ///
    /// - Returns: besides, why NATS could not be asked.
    package func content(
        of letter: StoredDeadLetter
    ) -> (content: DeadLetterSource.Content, place: Place, natsFailure: String?) {
        do {
            let connection = try connector.waitUntilConnected(within: Self.connectLimit)
            let jetStream = JetStream(connection)
            if let bytes = try DeadLetterSource(jetStream).message(of: letter) {
                let content: DeadLetterSource.Content
                if letter.key.index >= 0,
                    let event = DeadLetterSource.block(
                        ofEvent: letter.key.index, in: bytes, producer: .zero)
                {
                    content = .init(bytes: event, form: .event, isTruncated: false)
                } else {
                    content = .init(bytes: bytes, form: .message, isTruncated: false)
                }
                return (content, .original, nil)
            }
            if let copy = try forwarded(letter, jetStream), !copy.isTruncated {
                return (copy, .deadLetters, nil)
            }
            return (DeadLetterSource.kept(of: letter), .table, nil)
        } catch {
            return (DeadLetterSource.kept(of: letter), .table, "\(error)")
        }
    }

    /// The copy in the stream of dead letters, if it is still there.
    private func forwarded(
        _ letter: StoredDeadLetter, _ jetStream: JetStream
    ) throws(NATSError) -> DeadLetterSource.Content? {
        guard let sequence = letter.forwardedSequence else { return nil }
        let found: StoredMessage
        do throws(NATSError) {
            found = try jetStream.message(inStream: BusStream.deadLetters, sequence: sequence)
        } catch {
            let isGone =
                JetStreamErrorCode.messageNotFound ~= error
                || JetStreamErrorCode.streamNotFound ~= error || error.code == .notFound
            guard isGone else { throw error }
            return nil
        }
        let message = found.message
        guard
            message.header(DeadLetterMessage.keyHeader) == DeadLetterMessage.id(of: letter.key),
            let form = message.header(DeadLetterMessage.formHeader)
                .flatMap(DeadLetterSource.Form.init(rawValue:))
        else { return nil }
        return .init(
            bytes: message.withUnsafePayload { Array($0) }, form: form,
            isTruncated: message.header(DeadLetterMessage.truncatedHeader) == "true")
    }

    // MARK: Replay

    /// What is, or would be, published again.
    package struct Replay: Sendable {
        package let letter: StoredDeadLetter
        package let subject: String
        package let bytes: [UInt8]
        package let place: Place
        /// Why the message will come back, as far as this program can tell; nil when it should be counted.
        package let outlook: String?
    }

    /// Finds what a replay of `letter` publishes.
    ///
    /// - Parameter again: Whether a letter that was replayed before may be.
    /// - Throws: ``OperatorError`` saying why it must not be published.
    package func prepareReplay(
        of letter: StoredDeadLetter, again: Bool, producer: UniqueID
    ) throws(OperatorError) -> Replay {
        let key = letter.key
        if letter.replayedAt != nil, !again {
            let sequence = letter.replayedSequence.map { ", as sequence \($0)" } ?? ""
            throw OperatorError(
                "\(key) was replayed before\(sequence): --again publishes it once more")
        }
        guard let subject = DeadLetterSource.subject(of: key) else {
            throw OperatorError("\(key): the stream \(key.stream) is none of the platform's")
        }
        let (content, place, natsFailure) = content(of: letter)
        guard !content.isTruncated else {
            let reason =
                natsFailure.map { "NATS cannot be asked for it (\($0))" }
                ?? "it is neither in \(key.stream) nor in \(BusStream.deadLetters) any more"
            throw OperatorError(
                "\(key): only the first \(content.bytes.count) bytes are left, since \(reason)")
        }
        var bytes = content.bytes
        if key.index >= 0 {
            guard content.form == .event,
                let event = DeadLetterSource.block(ofEvent: 0, in: bytes, producer: producer)
            else {
                throw OperatorError(
                    "\(key) is one event of a JSON message, refused for what it says: look at it "
                        + "with qoectl dlq show, and post it to ingest put right")
            }
            bytes = event
        }
        return Replay(
            letter: letter, subject: subject, bytes: bytes, place: place,
            outlook: outlook(bytes, key, storedAt: letter.recordedAt.milliseconds))
    }

    private func outlook(
        _ bytes: [UInt8], _ key: DeadLetterKey, storedAt milliseconds: Int64
    ) -> String? {
        guard key.stream == BusStream.events, let stream = try? EventStream(connector) else {
            return nil
        }
        let content = MessageDecoder(partitioning: stream.partitioning).decode(
            bytes, partition: key.partition, brokerMilliseconds: milliseconds)
        guard case .unreadable(let reason, _) = content else { return nil }
        return
            "this program cannot decode it either (\(reason)): it will become a dead letter again"
    }

    /// Publishes what was prepared, waits until JetStream has it, and marks the letter.
    ///
    /// - Returns: its new sequence.
    package func publish(_ replay: Replay) throws -> UInt64 {
        let connection = try connector.waitUntilConnected(within: Self.connectLimit)
        let outcome = try publishConfirmed(
            replay.bytes, to: replay.subject, stream: replay.letter.key.stream, over: connection,
            within: Self.acknowledgementLimit)
        let sequence =
            switch outcome {
            case .stored(let sequence), .known(let sequence): sequence
            }
        try store.markReplayed(replay.letter.key, sequence: sequence)
        return sequence
    }
}
