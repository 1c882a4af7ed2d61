/// A five-character SQLSTATE as PostgreSQL reports it.
///
/// The constants carry the condition names of the PostgreSQL manual, appendix A. The first two
/// characters are the class: `state.isInClass(.connectionException)`.
package struct SQLState: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The five characters.
    package let rawValue: String

    /// Wraps `rawValue`; nothing is checked, since servers and functions may define their own.
    package init(rawValue: String) {
        self.rawValue = rawValue
    }

    /// The five characters.
    package var description: String { rawValue }

    /// Whether the first two characters are those of `stateClass`.
    package func isInClass(_ stateClass: SQLStateClass) -> Bool {
        rawValue.utf8.prefix(2).elementsEqual(stateClass.rawValue.utf8)
    }
}

/// The first two characters of a SQLSTATE.
package struct SQLStateClass: RawRepresentable, Hashable, Sendable {
    /// The two characters.
    package let rawValue: String

    /// Wraps `rawValue` unchecked.
    package init(rawValue: String) {
        self.rawValue = rawValue
    }

    /// Class 08.
    package static let connectionException = SQLStateClass(rawValue: "08")
    /// Class 22.
    package static let dataException = SQLStateClass(rawValue: "22")
    /// Class 23.
    package static let integrityConstraintViolation = SQLStateClass(rawValue: "23")
    /// Class 53: out of disk, memory or connections.
    package static let insufficientResources = SQLStateClass(rawValue: "53")
    /// Class 58: failures outside PostgreSQL itself, such as I/O errors.
    package static let systemError = SQLStateClass(rawValue: "58")
}

extension SQLState {
    /// 22021: text that is not valid in the database's encoding, such as U+0000.
    package static let characterNotInRepertoire = SQLState(rawValue: "22021")
    /// 22P02.
    package static let invalidTextRepresentation = SQLState(rawValue: "22P02")
    /// 23505.
    package static let uniqueViolation = SQLState(rawValue: "23505")
    /// 23514: also raised for a row that belongs to no partition.
    package static let checkViolation = SQLState(rawValue: "23514")
    /// 25006: the session is connected to a standby, or the primary became one.
    package static let readOnlySQLTransaction = SQLState(rawValue: "25006")
    /// 25P03.
    package static let idleInTransactionSessionTimeout = SQLState(rawValue: "25P03")
    /// 28P01.
    package static let invalidPassword = SQLState(rawValue: "28P01")
    /// 40001.
    package static let serializationFailure = SQLState(rawValue: "40001")
    /// 40003: the server itself does not know whether the transaction was committed.
    package static let statementCompletionUnknown = SQLState(rawValue: "40003")
    /// 40P01.
    package static let deadlockDetected = SQLState(rawValue: "40P01")
    /// 42601.
    package static let syntaxError = SQLState(rawValue: "42601")
    /// 42P01.
    package static let undefinedTable = SQLState(rawValue: "42P01")
    /// 42501.
    package static let insufficientPrivilege = SQLState(rawValue: "42501")
    /// 53300.
    package static let tooManyConnections = SQLState(rawValue: "53300")
    /// 55006.
    package static let objectInUse = SQLState(rawValue: "55006")
    /// 55P03.
    package static let lockNotAvailable = SQLState(rawValue: "55P03")
    /// 57014: cancelled by request or by `statement_timeout`.
    package static let queryCanceled = SQLState(rawValue: "57014")
    /// 57P01: the backend was told to end, by a shutdown or by `pg_terminate_backend`.
    package static let adminShutdown = SQLState(rawValue: "57P01")
    /// 57P02.
    package static let crashShutdown = SQLState(rawValue: "57P02")
    /// 57P03: starting up, shutting down or in recovery.
    package static let cannotConnectNow = SQLState(rawValue: "57P03")
    /// 57P05.
    package static let idleSessionTimeout = SQLState(rawValue: "57P05")
}
