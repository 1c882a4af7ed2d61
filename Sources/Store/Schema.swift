package import Postgres

/// The schema of the database: what this program knows and what the database has.
///
/// Every migration runs in a transaction of its own under an advisory lock, so two programs that
/// migrate at once do it once, and one that is killed leaves a whole step or none.
package struct Schema: Sendable {
    /// A migration and whether the database has run it.
    package struct Entry: Equatable, Sendable {
        package let version: Int32
        package let name: String
        /// Nil when it has not been run.
        package let appliedAt: PostgresTimestamp?
    }

    private struct Applied {
        let version: Int32
        let checksum: String
        let at: PostgresTimestamp
    }

    private let migrations: [Migration]

    /// The schema that this program was built with.
    package init() {
        self.init(migrations: Migration.all)
    }

    init(migrations: [Migration]) {
        for (index, migration) in migrations.enumerated() {
            precondition(migration.version == index + 1, "versions count from 1 without a gap")
        }
        self.migrations = migrations
    }

    /// The newest version that this program knows.
    package var version: Int32 { Int32(clamping: migrations.count) }

    /// Runs what is missing.
    ///
    /// - Returns: the versions that this call ran.
    /// - Throws: ``SchemaError``; what ran before the failing migration stays.
    package func migrate(_ connection: PostgresConnection) throws(SchemaError) -> [Int32] {
        var done: [Int32] = []
        var lockTries = 0
        while true {
            do {
                guard let version = try migrateOne(connection) else { return done }
                done.append(version)
                lockTries = 0
            } catch {
                guard error.isLockConflict, lockTries < Self.lockTriesMax else { throw error }
                lockTries += 1
                try attempt { () throws(PostgresError) in
                    try connection.execute("SELECT pg_sleep(\(Self.lockPauseSeconds))")
                }
            }
        }
    }

    /// All migrations, with what the database says of them.
    package func status(_ connection: PostgresConnection) throws(SchemaError) -> [Entry] {
        let applied = try attempt { () throws(PostgresError) in try Self.applied(connection) }
        try check(applied)
        return migrations.map { migration in
            let at = applied.first { $0.version == migration.version }?.at
            return Entry(version: migration.version, name: migration.name, appliedAt: at)
        }
    }

    /// Makes the roles that the schema's objects belong and are granted to, where they are missing: a server that
    /// gets a copy of a database may not have them.
    package static func makeRoles(_ connection: PostgresConnection) throws(PostgresError) {
        try connection.execute(rolesSQL)
    }

    /// Refuses a database that this program cannot work with; run by services at their start.
    package func requireCurrent(_ connection: PostgresConnection) throws(SchemaError) {
        let applied = try status(connection).count { $0.appliedAt != nil }
        guard applied == migrations.count else {
            throw .behind(database: Int32(clamping: applied), program: version)
        }
    }

    /// Any number, as long as all programs that share a database use the same one.
    private static let lockKey: Int64 = 0x716F_655F_6D69_6772

    /// How long one migration, or waiting for another program's, may take.
    private static let timeout: Duration = .seconds(3_600)

    /// How long a migration waits for a table that is in use, and with it everybody who wants the table
    /// after it; then it lets them pass and tries again.
    private static let lockTimeoutMilliseconds = 1_000
    private static let lockPauseSeconds = 1
    /// Some minutes in all: longer than a query that an operator waits for.
    private static let lockTriesMax = 300

    /// Runs the first migration that is missing, if one is.
    private func migrateOne(_ connection: PostgresConnection) throws(SchemaError) -> Int32? {
        let usual = connection.timeout
        connection.timeout = Self.timeout
        defer { connection.timeout = usual }
        var refusal: SchemaError?
        let version = try attempt(unless: { refusal }) { () throws(PostgresError) in
            try connection.transaction { () throws(PostgresError) -> Int32? in
                try connection.execute("SELECT pg_advisory_xact_lock(\(Self.lockKey))")
                let applied = try Self.applied(connection)
                do throws(SchemaError) {
                    try check(applied)
                } catch {
                    refusal = error
                    return nil
                }
                guard applied.count < migrations.count else { return nil }
                let next = migrations[applied.count]
                if applied.isEmpty { try connection.execute(Self.ledger) }
                // A lock that is not free yet holds up everybody who comes later.
                try connection.execute("SET LOCAL lock_timeout = \(Self.lockTimeoutMilliseconds)")
                if next.runsAsOwner {
                    do throws(PostgresError) {
                        try connection.execute("SET LOCAL ROLE qoe_owner")
                    } catch {
                        if error.code == .server(.insufficientPrivilege) { refusal = .notOwner }
                        throw error
                    }
                }
                try connection.execute(next.sql)
                var parameters = PostgresParameters()
                parameters.append(next.version)
                parameters.append(next.name)
                parameters.append(next.checksum)
                _ = try connection.query(
                    "INSERT INTO schema_migrations VALUES ($1, $2, $3, now())", parameters)
                return next.version
            }
        }
        if let refusal { throw refusal }
        return version
    }

    private static let ledger = """
        CREATE TABLE IF NOT EXISTS schema_migrations (
            version integer PRIMARY KEY,
            name text NOT NULL,
            checksum text NOT NULL,
            applied_at timestamptz NOT NULL
        );
        COMMENT ON TABLE schema_migrations IS 'The migrations that this database has run.';
        COMMENT ON COLUMN schema_migrations.version IS 'Counts from 1.';
        COMMENT ON COLUMN schema_migrations.name IS 'A word or two.';
        COMMENT ON COLUMN schema_migrations.checksum IS 'XXH64 of the text that was run, in hexadecimal.';
        COMMENT ON COLUMN schema_migrations.applied_at IS 'Server time.';
        """

    /// What the database has run, in order; nothing when it is new.
    private static func applied(
        _ connection: PostgresConnection
    ) throws(PostgresError) -> [Applied] {
        let exists = try connection.query("SELECT to_regclass('schema_migrations') IS NOT NULL")
        guard var first = exists.first, try first.next(Bool.self) else { return [] }
        let result = try connection.query(
            "SELECT version, checksum, applied_at FROM schema_migrations ORDER BY version")
        var applied: [Applied] = []
        for var row in result.rows {
            applied.append(
                Applied(version: try row.next(), checksum: try row.next(), at: try row.next()))
        }
        return applied
    }

    /// Refuses a history that is not the beginning of ours.
    private func check(_ applied: [Applied]) throws(SchemaError) {
        if let newest = applied.last, newest.version > version {
            throw .databaseIsNewer(database: newest.version, program: version)
        }
        for (migration, ran) in zip(migrations, applied) {
            guard migration.version == ran.version, migration.checksum == ran.checksum else {
                throw .changed(version: migration.version, name: migration.name)
            }
        }
    }

    /// - Parameter refusal: What is wrong when more is known than PostgreSQL says.
    private func attempt<Value>(
        unless refusal: () -> SchemaError? = { nil },
        _ body: () throws(PostgresError) -> Value
    ) throws(SchemaError) -> Value {
        do {
            return try body()
        } catch {
            throw refusal() ?? .postgres(error)
        }
    }
}
