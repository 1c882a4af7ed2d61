internal import Bus
internal import Logging
internal import Postgres
internal import ServiceKit
internal import Store

/// A connection to the store that is made when it is needed, and made anew after it broke.
///
/// Used from one owned thread.
final class StoreConnection {
    /// How long one answer of the database may take: two of them fit into a graceful shutdown.
    private static let answerLimitUsual = Duration.seconds(8)

    private let url: PostgresConnectionString
    private let interrupt: PostgresInterrupt
    private let answerLimit: Duration?
    private let health: HealthRegistry?
    private let logger: Logger
    private let witness: TimelineWitness
    private var store: AggregateStore?
    private var systemIdentifier: Int64?
    private var isReportedFailing = false

    /// Counts the connections made, so that what is known of the old one can be forgotten.
    private(set) var connectionCount = 0

    /// - Parameters:
    ///   - answerLimit: How long one answer may take, and the server work on a statement, when that is not usual.
    ///   - health: Where it is told whether the database works; nil for work that readiness does not depend on.
    init(
        url: PostgresConnectionString, interrupt: PostgresInterrupt, witness: TimelineWitness,
        answerLimit: Duration? = nil, health: HealthRegistry?, logger: Logger
    ) {
        self.answerLimit = answerLimit
        self.url = url
        self.interrupt = interrupt
        self.witness = witness
        self.health = health
        self.logger = logger
    }

    /// Calls `body` with the store.
    func perform<Value>(
        _ body: (AggregateStore) throws(PostgresError) -> Value
    ) throws(TablesError) -> Value {
        let store = try connected()
        do {
            let value = try body(store)
            reportReady()
            return value
        } catch {
            throw failure(error)
        }
    }

    /// Calls `body`, which writes under the fence of `partition`, with the store.
    func performFlush<Value>(
        partition: Int, _ body: (AggregateStore) throws(FlushError) -> Value
    ) throws(TablesError) -> Value {
        let store = try connected()
        do {
            let value = try body(store)
            reportReady()
            return value
        } catch {
            switch error {
            case .fenced: throw .fenced(partition: partition)
            case .unknownOutcome(let cause), .failed(let cause): throw failure(cause)
            }
        }
    }

    private func connected() throws(TablesError) -> AggregateStore {
        if let store { return store }
        let connection: PostgresConnection
        do throws(PostgresError) {
            connection = try PostgresConnection(
                to: url, timeout: answerLimit ?? Self.answerLimitUsual, interrupt: interrupt)
        } catch {
            throw failure(error)
        }
        // First of all: whatever else is asked of a database without our tables fails with the name of
        // one of them, which tells nobody to migrate.
        do throws(SchemaError) {
            try Schema().requireCurrent(connection)
        } catch {
            throw refuse(error.description)
        }
        let opened: AggregateStore
        let found: ServerIdentity
        do throws(PostgresError) {
            opened =
                if let answerLimit {
                    try AggregateStore(connection, statementTimeout: answerLimit)
                } else {
                    try AggregateStore(connection)
                }
            found = try opened.serverIdentity()
        } catch {
            throw failure(error)
        }
        try check(found)
        systemIdentifier = found.systemIdentifier
        store = opened
        connectionCount += 1
        isReportedFailing = true
        reportReady()
        logger.info("connected to PostgreSQL", metadata: ["host": "\(connection.host ?? "")"])
        return opened
    }

    private func check(_ found: ServerIdentity) throws(TablesError) {
        if let known = systemIdentifier, found.systemIdentifier != known {
            throw refuse(
                "another database cluster answers under the same name; restart to accept it")
        }
        // A standby refuses to be written to by itself, and may not know its timeline yet.
        guard !found.isInRecovery else { return }
        do throws(TimelineWitness.Refusal) {
            try witness.check(
                systemIdentifier: found.systemIdentifier, timeline: found.timeline)
        } catch {
            throw refuse(error.description)
        }
    }

    /// What failed before works again, on the same connection or another.
    private func reportReady() {
        guard isReportedFailing else { return }
        isReportedFailing = false
        health?.report("postgres", .ready)
    }

    private func reportFailing(_ reason: String) {
        isReportedFailing = true
        health?.report("postgres", .failing(reason: reason))
    }

    private func refuse(_ reason: String) -> TablesError {
        reportFailing(reason)
        return .unavailable(reason)
    }

    /// What a failure means, after forgetting a connection that is of no more use.
    private func failure(_ error: PostgresError) -> TablesError {
        if error.needsNewConnection { store = nil }
        reportFailing(error.description)
        switch error.retry {
        case .retriable: return .unavailable(error.description)
        case .unknownOutcome: return .unknownOutcome(error.description)
        case .permanent: return .refused(error.description)
        }
    }
}
