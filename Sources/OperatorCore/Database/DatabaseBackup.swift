internal import Foundation
package import Postgres

/// A copy of the whole database in a file or a folder, by `pg_dump`.
///
/// The archive is one snapshot: rows and progress belong together, as after a crash at that moment.
package struct DatabaseBackup {
    package struct Settings: Sendable {
        /// The file or folder to make.
        package var path: String
        /// A folder with a file per table, which several jobs can write.
        package var isFolder = false
        package var jobCount = 1
        /// Whether it may take the place of an older one.
        package var overwrites = false

        package init(path: String) {
            self.path = path
        }
    }

    package struct Report: Sendable {
        package let byteCount: Int64
        package let duration: Duration
        package let schemaVersion: Int32
        package let tableCount: Int
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

    /// How long a table may be locked against reading, which only dropping it does, before this gives up.
    private static let lockLimitMilliseconds = 60_000

    /// Makes the archive, reads it again, and gives it its name only then. Blocks.
    ///
    /// - Throws: ``OperatorError``; then nothing is left behind, and an older archive is as it was.
    package func run(_ settings: Settings) throws -> Report {
        let start = ContinuousClock.now
        let files = FileManager.default
        guard settings.overwrites || !files.fileExists(atPath: settings.path) else {
            throw OperatorError(
                "\(settings.path) exists; --force replaces it once the new one is made")
        }
        let serverVersion = database.serverVersion ?? 0
        let dump = try PostgresTool.find("pg_dump", serverVersion: serverVersion)
        let restore = try PostgresTool.find("pg_restore", serverVersion: serverVersion)
        let (snapshot, version) = try exportSnapshot()
        let draft = "\(settings.path).partial-\(getpid())"
        try makeClosed(draft, isFolder: settings.isFolder)
        var isDone = false
        defer { if !isDone { try? files.removeItem(atPath: draft) } }

        let tableCount = try ToolFolder.with { folder in
            let access = try address.access(sameServerAs: database)
            var arguments = [
                "--format", settings.isFolder ? "directory" : "custom", "--file", draft,
                "--snapshot", snapshot, "--no-password", "--encoding", "UTF8",
                "--lock-wait-timeout", "\(Self.lockLimitMilliseconds)", "--dbname",
                access.arguments,
            ]
            if settings.jobCount > 1 { arguments += ["--jobs", "\(settings.jobCount)"] }
            try dump.run(arguments, environment: access.environment, in: folder, stop: stop)
            // A copy that nobody can read is found now, not on the day it is needed.
            let archive = BackupArchive(path: draft, tool: restore, folder: folder, stop: stop)
            let tableCount = try archive.tableCount()
            let found = try archive.schemaVersion()
            guard found == version else {
                throw OperatorError(
                    "the archive has schema version \(found) and the database \(version)")
            }
            return tableCount
        }
        try? database.execute("ROLLBACK")
        let byteCount = try size(of: draft)
        try publish(draft, as: settings.path)
        isDone = true
        return Report(
            byteCount: byteCount, duration: ContinuousClock.now - start, schemaVersion: version,
            tableCount: tableCount)
    }

    /// Begins the transaction whose snapshot the dump reads, and with it the version.
    private func exportSnapshot() throws -> (name: String, version: Int32) {
        try database.execute(
            """
            SET idle_in_transaction_session_timeout = 0;
            SET statement_timeout = 0;
            """)
        try database.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        let known = try database.query("SELECT to_regclass('schema_migrations') IS NOT NULL")
        guard var exists = known.first, try exists.next(Bool.self) else {
            throw OperatorError(
                "this database has no tables of ours (schema_migrations): see --postgres-url")
        }
        let result = try database.query(
            "SELECT pg_export_snapshot(), (SELECT max(version) FROM schema_migrations)")
        guard var row = result.first else { throw OperatorError("no snapshot could be exported") }
        return (try row.next(), try row.nextOptional() ?? 0)
    }

    // MARK: Files

    /// Makes what the dump fills: it holds everything, so that nobody else may read it.
    private func makeClosed(_ path: String, isFolder: Bool) throws {
        if isFolder {
            guard mkdir(path, 0o700) == 0 else { throw failure(path) }
        } else {
            let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw failure(path) }
            close(descriptor)
        }
    }

    /// Gives the draft its name, on the disk as well. `pg_dump` has written the content through already.
    private func publish(_ draft: String, as path: String) throws {
        let old = "\(path).replaced-\(getpid())"
        var isDirectory: ObjCBool = false
        // A file takes the place of a file at once; a folder needs it to be free.
        let mustMove =
            FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
            && (isDirectory.boolValue || isFolder(draft))
        if mustMove { guard rename(path, old) == 0 else { throw failure(path) } }
        guard rename(draft, path) == 0 else {
            let error = failure(path)
            if mustMove { _ = rename(old, path) }
            throw error
        }
        try writeThrough(path)
        try writeThrough(URL(fileURLWithPath: path).deletingLastPathComponent().path)
        if mustMove { try FileManager.default.removeItem(atPath: old) }
    }

    private func isFolder(_ path: String) -> Bool {
        var isDirectory: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
            && isDirectory.boolValue
    }

    private func writeThrough(_ path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure(path) }
    }

    private func size(of path: String) throws -> Int64 {
        let names = isFolder(path) ? try FileManager.default.contentsOfDirectory(atPath: path) : []
        let files = isFolder(path) ? names.map { "\(path)/\($0)" } : [path]
        return files.reduce(into: 0) { sum, file in
            var status = stat()
            if stat(file, &status) == 0 { sum &+= Int64(status.st_size) }
        }
    }

    private func failure(_ path: String) -> OperatorError {
        OperatorError("\(path): \(String(cString: strerror(errno)))")
    }
}
