/// Why a call to PostgreSQL failed.
///
/// Carries no parameter values and no passwords. ``detail`` is the exception to read with care: the
/// server may quote row values there, so it is kept out of ``description``.
package struct PostgresError: Error, Equatable, Sendable {
    /// What went wrong, for decisions; ``message`` is for people.
    package enum Code: Equatable, Sendable {
        /// The connection string cannot be used.
        case invalidConnectionString
        /// No host of the connection string accepted a session of the wanted kind.
        case connectFailed
        /// The connection broke; nothing that was under way has been committed.
        case connectionLost
        /// The connection broke, or the wait ended, after COMMIT left and before its answer came.
        case commitOutcomeUnknown
        /// No answer within the time allowed; the connection was closed.
        case timedOut
        /// ``PostgresInterrupt/trigger()`` was called; the connection was closed.
        case interrupted
        /// The server refused a statement.
        case server(SQLState)
        /// The server answered, but not with what the caller asked to read.
        case unexpectedResult
    }

    /// What went wrong.
    package let code: Code
    /// The primary message, in one line where the server gave one line.
    package let message: String
    /// The server's DETAIL; may quote values of rows.
    package let detail: String?
    /// The name of the statement that failed, where it had one.
    package let statement: String?
    /// The server's whole answer in the lines that psql shows, the place in the statement marked; of statements
    /// that a person wrote alone (``PostgresConnection/queryText(_:rowLimit:byteLimit:)``). May quote values of
    /// rows.
    package let report: String?

    /// Makes an error; `message` must not contain secrets or parameter values.
    package init(
        _ code: Code, _ message: String, detail: String? = nil, statement: String? = nil,
        report: String? = nil
    ) {
        self.code = code
        self.message = message
        self.detail = detail
        self.statement = statement
        self.report = report
    }

    /// The SQLSTATE, when the server gave one.
    package var sqlState: SQLState? {
        if case .server(let state) = code { state } else { nil }
    }
}

extension PostgresError: CustomStringConvertible {
    /// One line without ``detail``.
    package var description: String {
        var text =
            switch code {
            case .invalidConnectionString: "invalid PostgreSQL connection string"
            case .connectFailed: "cannot connect to PostgreSQL"
            case .connectionLost: "lost the connection to PostgreSQL"
            case .commitOutcomeUnknown: "lost PostgreSQL's answer to COMMIT (outcome unknown)"
            case .timedOut: "PostgreSQL did not answer in time"
            case .interrupted: "waiting for PostgreSQL was interrupted"
            case .server(let state): "PostgreSQL error \(state)"
            case .unexpectedResult: "unexpected result from PostgreSQL"
            }
        if let statement { text += " in \(statement)" }
        return message.isEmpty ? text : text + ": " + message
    }
}

/// What a caller may do about a ``PostgresError``.
package enum PostgresRetry: Equatable, Sendable {
    /// Nothing was committed: reconnect if needed and do the same again.
    case retriable
    /// Doing the same again fails the same way.
    case permanent
    /// It may have been committed: read the database before doing anything again.
    case unknownOutcome
}

extension PostgresError {
    /// Whether to try again: a pure function of ``code``.
    package var retry: PostgresRetry {
        switch code {
        case .connectFailed, .connectionLost, .timedOut: .retriable
        case .commitOutcomeUnknown: .unknownOutcome
        case .invalidConnectionString, .interrupted, .unexpectedResult: .permanent
        case .server(let state): state.retry
        }
    }

    /// Whether the next try needs a new connection, perhaps to another host.
    package var needsNewConnection: Bool {
        switch code {
        case .connectFailed, .connectionLost, .timedOut, .interrupted, .commitOutcomeUnknown: true
        case .invalidConnectionString, .unexpectedResult: false
        case .server(let state): state.endsSession
        }
    }
}

extension SQLState {
    /// Whether a statement refused with this state may succeed unchanged later.
    var retry: PostgresRetry {
        switch self {
        case .statementCompletionUnknown: return .unknownOutcome
        case .serializationFailure, .deadlockDetected, .lockNotAvailable, .objectInUse,
            .queryCanceled:
            return .retriable
        default:
            let passing: [SQLStateClass] = [
                .connectionException, .insufficientResources, .systemError,
            ]
            return endsSession || passing.contains(where: isInClass) ? .retriable : .permanent
        }
    }

    /// Whether the session is over, or useless because its server does not accept writes.
    var endsSession: Bool {
        switch self {
        case .adminShutdown, .crashShutdown, .cannotConnectNow, .idleSessionTimeout,
            .idleInTransactionSessionTimeout, .readOnlySQLTransaction:
            true
        default: isInClass(.connectionException)
        }
    }
}
