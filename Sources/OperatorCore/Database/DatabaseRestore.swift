internal import Foundation
package import Postgres
internal import Store

/// A database made of an archive.
package struct DatabaseRestore {
    package struct Report: Sendable {
        package let duration: Duration
        package let tableCount: Int
        /// Of the archive.
        package let schemaVersion: Int32
        /// Of this program; a larger one means that `qoectl db migrate` has something to do.
        package let programVersion: Int32
        /// When the last flush before the backup was; nil when there was none.
        package let flushedAt: PostgresTimestamp?
    }

    private let database: PostgresConnection
    private let address: PostgresConnectionString
    private let stop: StopRequest

    /// - Parameter address: What `database` was connected with.
    package init(
        database: PostgresConnection, address: PostgresConnectionString, stop: StopRequest
    ) {
        self.database = database
        self.address = address
        self.stop = stop
    }

    /// Restores into an empty database, in one transaction unless there are several jobs. Blocks.
    ///
    /// - Throws: ``OperatorError`` before anything is changed when the archive is not ours, is newer than this
    ///   program, or needs roles that are missing, or when the database is not empty; and when `pg_restore`
    ///   fails, which with one job leaves the database empty.
    package func run(from path: String, jobCount: Int) throws -> Report {
        let start = ContinuousClock.now
        guard FileManager.default.fileExists(atPath: path) else {
            throw OperatorError("\(path) does not exist")
        }
        let tool = try PostgresTool.find("pg_restore", serverVersion: database.serverVersion ?? 0)
        let program = Schema().version
        return try ToolFolder.with { folder in
            let archive = BackupArchive(path: path, tool: tool, folder: folder, stop: stop)
            let tableCount = try archive.tableCount()
            let version = try archive.schemaVersion()
            guard version <= program else {
                throw OperatorError(
                    "\(path) has schema version \(version), this program knows \(program): "
                        + "restore it with a newer program")
            }
            try requireEmpty()
            try prepareRoles(of: archive)
            let access = try address.access(sameServerAs: database)
            var arguments = [
                "--exit-on-error", "--no-password", "--dbname", access.arguments,
            ]
            arguments += jobCount > 1 ? ["--jobs", "\(jobCount)"] : ["--single-transaction"]
            do {
                try tool.run(
                    arguments + [path], environment: access.environment, in: folder, stop: stop)
            } catch  where jobCount > 1 {
                throw OperatorError(
                    "\(error); with several jobs there may be a part of it in the database: drop "
                        + "and make that again")
            }
            try finish()
            return Report(
                duration: ContinuousClock.now - start, tableCount: tableCount,
                schemaVersion: version, programVersion: program, flushedAt: try lastFlush())
        }
    }

    private func requireEmpty() throws {
        let result = try database.query(
            """
            SELECT count(*), min(n.nspname || '.' || c.relname), current_database()::text,
                pg_is_in_recovery()
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
                AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%'
                AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
            """)
        guard var row = result.first else { return }
        let count = try row.next(Int64.self)
        let example = try row.nextOptional(String.self) ?? ""
        let name = try row.next(String.self)
        guard try !row.next(Bool.self) else {
            throw OperatorError("this server is a replica: restore on its primary")
        }
        guard count == 0 else {
            throw OperatorError(
                "the database \(name) is not empty: it has \(count) tables and the like, such as "
                    + "\(example). Make a new one (CREATE DATABASE) and name it in --postgres-url")
        }
    }

    /// Sees to it that all roles exist, and that this one may give things to those that are to own them.
    private func prepareRoles(of archive: BackupArchive) throws {
        let roles = try archive.roles()
        // Those of the schema itself can be made here, if this role may; otherwise what follows says it all.
        try? Schema.makeRoles(database)
        let missing = try names(
            "SELECT name FROM unnest($1::text[]) AS name WHERE to_regrole(quote_ident(name)) IS NULL",
            roles.all)
        guard missing.isEmpty else {
            throw OperatorError(
                "this server does not have the roles that the archive names: "
                    + "\(missing.joined(separator: ", ")). An administrator can run: "
                    + missing.map { "CREATE ROLE \($0);" }.joined(separator: " "))
        }
        let foreign = try names(
            """
            SELECT quote_ident(name) FROM unnest($1::text[]) AS name
            WHERE NOT pg_has_role(name, 'MEMBER')
            """, roles.owners)
        guard foreign.isEmpty else {
            let role = try role
            throw OperatorError(
                "tables of the archive belong to roles that this one is no member of: "
                    + "\(foreign.joined(separator: ", ")). An administrator can run: "
                    + foreign.map { "GRANT \($0) TO \(role);" }.joined(separator: " "))
        }
        // The archive grants this last, but an owner needs it first.
        let others = try names(
            """
            SELECT quote_ident(name) FROM unnest($1::text[]) AS name
            WHERE NOT has_schema_privilege(name, 'public', 'CREATE')
            """, roles.owners)
        for owner in others {
            do throws(PostgresError) {
                try database.execute("GRANT USAGE, CREATE ON SCHEMA public TO \(owner)")
            } catch {
                throw OperatorError(
                    "\(owner) is to own tables and may make none: \(error); restore as the owner of "
                        + "the database")
            }
        }
    }

    private func names(_ sql: String, _ candidates: Set<String>) throws -> [String] {
        var parameters = PostgresParameters()
        parameters.append(array: candidates.sorted())
        var names: [String] = []
        for var row in try database.query(sql, parameters).rows { names.append(try row.next()) }
        return names
    }

    /// This session's role, as SQL writes it.
    private var role: String {
        get throws {
            guard var row = try database.query("SELECT quote_ident(current_user)").first else {
                return "CURRENT_USER"
            }
            return try row.next()
        }
    }

    /// Sees whether the history is ours, and counts what the planner wants to know: archives do not have it.
    private func finish() throws {
        database.timeout = Self.analyzeLimit
        do throws(SchemaError) {
            _ = try Schema().status(database)
        } catch {
            throw OperatorError("what was restored cannot be used: \(error)")
        }
        try database.execute("ANALYZE")
    }

    private static let analyzeLimit = Duration.seconds(3_600)

    private func lastFlush() throws -> PostgresTimestamp? {
        let result = try database.query("SELECT max(flushed_at) FROM partition_progress")
        guard var row = result.first else { return nil }
        return try row.nextOptional()
    }
}
