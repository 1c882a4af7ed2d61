internal import Bus
internal import CoreMetrics
internal import Failpoints
internal import Logging
internal import NATSClient
internal import Postgres
internal import Store

/// Publishes the rows of `dead_letters` to the stream `TELEMETRY_DLQ`, each at least once.
///
/// The table is the outbox: rows are written with the effects of their message, and marked here once JetStream
/// has stored them. A crash between the two publishes again under the same `Nats-Msg-Id`.
///
/// Blocking; used from one owned thread. Several instances may do this at once: one skips the rows that another
/// holds.
final class DeadLetterForwarder {
    /// Rows of one transaction.
    private static let batchCountMax = 32
    /// How long one transaction may publish, well below the server's `idle_in_transaction_session_timeout`.
    private static let batchLimit = Duration.milliseconds(500)
    private static let acknowledgementLimit = Duration.milliseconds(500)
    /// Between two looks at a table where nothing waited.
    private static let idleInterval = Duration.seconds(1)
    private static let retryInterval = Duration.seconds(10)

    private let connector: NATSConnector
    private let database: StoreConnection
    private let metrics: DeadLetterMetrics
    private let logger: Logger
    private var nextBatch = ContinuousClock.now
    /// The last failure that was logged as a warning, until a batch succeeds.
    private var lastFailure: String?

    init(
        connector: NATSConnector, database: StoreConnection, metrics: DeadLetterMetrics,
        logger: Logger
    ) {
        self.connector = connector
        self.database = database
        self.metrics = metrics
        self.logger = logger
    }

    /// Forwards a batch, if it is time.
    func forwardIfDue() {
        guard ContinuousClock.now >= nextBatch, let connection = connector.connection,
            connector.isConnected
        else { return }
        var failure: String?
        do throws(TablesError) {
            let outcome = try database.perform { store throws(PostgresError) in
                try store.deadLetters.forward(limit: Self.batchCountMax) {
                    publish($0, over: connection, &failure)
                }
            }
            metrics.record(forwarded: outcome.forwarded, waiting: outcome.waiting)
            let hasMore = outcome.waiting > 0
            nextBatch = .now + (hasMore ? .zero : Self.idleInterval)
        } catch {
            failure = "\(error)"
        }
        if let failure {
            nextBatch = .now + Self.retryInterval
            metrics.countFailure()
            // An outage is told once, not at every try.
            logger.log(
                level: failure == lastFailure ? .debug : .warning,
                "cannot forward dead letters; they wait in the table",
                metadata: ["reason": "\(failure)"])
        }
        lastFailure = failure
    }

    /// Publishes letters until time is up; one that fails does not keep the others.
    ///
    /// - Returns: the sequences of those that JetStream has.
    private func publish(
        _ letters: [StoredDeadLetter], over connection: NATSConnection, _ failure: inout String?
    ) -> [DeadLetterKey: UInt64] {
        let deadline = ContinuousClock.now + Self.batchLimit
        let jetStream = JetStream(connection, timeout: Self.acknowledgementLimit)
        var stored: [DeadLetterKey: UInt64] = [:]
        for letter in letters where ContinuousClock.now < deadline {
            do {
                stored[letter.key] = try publish(letter, jetStream, over: connection)
            } catch {
                failure = "\(letter.key): \(error)"
            }
        }
        if !stored.isEmpty { failpoint(.aggregatorDeadLetterPublished) }
        return stored
    }

    private func publish(
        _ letter: StoredDeadLetter, _ jetStream: JetStream, over connection: NATSConnection
    ) throws -> UInt64 {
        let content = try DeadLetterSource(jetStream).content(of: letter)
        do throws(PublishError) {
            return try publish(letter, content, jetStream, over: connection)
        } catch {
            guard error.code == .tooLarge else { throw error }
            // The whole message left no room for headers.
            let beginning = DeadLetterSource.Content(
                bytes: Array(content.bytes.prefix(letterByteCountMax)), form: content.form,
                isTruncated: true)
            return try publish(letter, beginning, jetStream, over: connection)
        }
    }

    private func publish(
        _ letter: StoredDeadLetter, _ content: DeadLetterSource.Content, _ jetStream: JetStream,
        over connection: NATSConnection
    ) throws(PublishError) -> UInt64 {
        let outcome = try publishConfirmed(
            content.bytes, to: BusSubject.deadLetters(reason: letter.reason),
            stream: BusStream.deadLetters,
            headers: DeadLetterMessage.headers(for: letter, content), over: connection,
            within: Self.acknowledgementLimit)
        switch outcome {
        case .stored(let sequence):
            return sequence
        case .known(let sequence):
            // Servers before 2.11 may remember an identifier whose message they never stored.
            let found = try? jetStream.message(
                inStream: BusStream.deadLetters, sequence: sequence)
            let key = found?.message.header(DeadLetterMessage.keyHeader)
            guard key == DeadLetterMessage.id(of: letter.key) else {
                throw PublishError(.refused, "taken for a duplicate of what is not there")
            }
            return sequence
        }
    }
}
