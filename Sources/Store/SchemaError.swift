package import Postgres

/// Why the schema cannot be used or migrated.
package enum SchemaError: Error, Equatable, Sendable {
    /// The database has run migrations that this program does not know.
    case databaseIsNewer(database: Int32, program: Int32)
    /// The database ran another text under the same version.
    case changed(version: Int32, name: String)
    /// Migrations of this program have not been run.
    case behind(database: Int32, program: Int32)
    /// The login may not act as the role that the schema belongs to.
    case notOwner
    /// PostgreSQL failed.
    case postgres(PostgresError)
}

extension SchemaError: CustomStringConvertible {
    /// Says what to do as well.
    package var description: String {
        switch self {
        case .databaseIsNewer(let database, let program):
            "the database's schema is at version \(database), this program knows \(program): "
                + "run a newer program, there is no way back"
        case .changed(let version, let name):
            "migration \(version) (\(name)) is not the one that the database has run: "
                + "this program was built from another history"
        case .behind(let database, let program):
            "the database's schema is at version \(database), this program needs \(program): "
                + "run qoectl db migrate"
        case .notOwner:
            "the schema belongs to the role qoe_owner, which this login may not act as: have an "
                + "administrator run GRANT qoe_owner TO it"
        case .postgres(let error): error.description
        }
    }
}

extension SchemaError {
    /// Whether somebody else's lock was in the way, so that the same may succeed a moment later.
    var isLockConflict: Bool {
        guard case .postgres(let error) = self, case .server(let state) = error.code else {
            return false
        }
        return state == .lockNotAvailable || state == .deadlockDetected
    }
}
