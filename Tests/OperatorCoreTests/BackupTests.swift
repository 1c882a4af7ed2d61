import Foundation
import NATSClient
import OperatorCore
import Postgres
import PrivateServers
import Store
import Telemetry
import TestKit
import Testing

/// The content of every table, as one text per table.
private func contents(_ database: PostgresConnection) throws -> [String: String] {
    let names = try database.query(
        """
        SELECT c.oid::regclass::text FROM pg_class AS c
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY 1
        """)
    var contents: [String: String] = [:]
    for var row in names.rows {
        let name = try row.next(String.self)
        let hash = try database.query(
            "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') "
                + "FROM \(name) AS t")
        var first = try #require(hash.first)
        contents[name] = try first.next(String.self)
    }
    return contents
}

/// Another database of the same server, dropped afterwards.
private func withNewDatabase(
    beside url: String, _ body: (String) throws -> Void
) throws {
    let name = "restored_\(UInt32.random(in: 0 ... .max))"
    let admin = try PostgresConnection(to: PostgresConnectionString(url))
    defer { admin.close() }
    try admin.execute("CREATE DATABASE \(name)")
    defer { try? admin.execute("DROP DATABASE \(name) WITH (FORCE)") }
    let base = try #require(url.lastIndex(of: "/"))
    try body(url[...base] + name)
}

@Suite struct BackupTests {
    @Test(arguments: [["custom", "1"], ["directory", "2"]])
    func `a restored database goes on in the stream and counts everything once`(
        form: [String]
    ) throws {
        try withTemporaryFolder { folder in
            try Platform.run { platform in
                for number in 1...20 {
                    try platform.publish([
                        event(
                            Name("client-\(number % 3)"), UInt64(number), at: now(),
                            number: UInt64(number))
                    ])
                }
                try platform.publish([event("legacy", 100, at: now())])
                try platform.aggregate(until: eventsRead, is: 21)
                let atBackup = try contents(platform.database)
                let path = "\(folder)/backup"
                let backup = [
                    "db", "backup", path, "--format", form[0], "--jobs", form[1],
                    "--postgres-url", platform.postgresURL,
                ]
                let made = try Qoectl.run(backup)
                #expect(made.code == 0, "\(made)")
                #expect(made.output.contains("schema version \(Schema().version)"))
                let again = try Qoectl.run(backup)
                #expect(again.code == 1)
                #expect(again.complaints.contains("--force"))
                #expect(try Qoectl.run(backup + ["--force"]).code == 0)
                #expect(
                    try FileManager.default.contentsOfDirectory(atPath: folder) == ["backup"])

                // Life goes on, and then the database is lost.
                for number in 21...30 {
                    try platform.publish([
                        event(
                            Name("client-\(number % 3)"), UInt64(number), at: now(),
                            number: UInt64(number))
                    ])
                }
                try platform.publish([event("legacy", 100, at: now())])
                try platform.aggregate(until: eventsRead, is: 32)

                try withNewDatabase(beside: platform.postgresURL) { url in
                    let restore = [
                        "db", "restore", path, "--jobs", form[1], "--postgres-url", url,
                        "--nats-url", platform.natsURL,
                    ]
                    let restored = try Qoectl.run(restore)
                    #expect(restored.code == 0, "\(restored)")
                    #expect(restored.output.contains("The streams have all that is needed"))
                    #expect(restored.complaints.isEmpty, "\(restored)")
                    let database = try PostgresConnection(to: PostgresConnectionString(url))
                    defer { database.close() }
                    #expect(try contents(database) == atBackup)
                    let twice = try Qoectl.run(restore)
                    #expect(twice.code == 1)
                    #expect(twice.complaints.contains("is not empty"))

                    let survivor = Platform(
                        nats: platform.nats, natsURL: platform.natsURL, postgresURL: url,
                        connector: platform.connector, database: database)
                    try survivor.aggregate(until: eventsRead, is: 32)
                    let report = try survivor.verify()
                    #expect(report.isEqual, "\(report.differences)")
                    let counted = "SELECT sum(count_total)::bigint FROM agg_1m"
                    #expect(try survivor.number(counted) == 31)
                    #expect(try survivor.number("SELECT count(*) FROM lost_ranges") == 0)
                }
            }
        }
    }

    @Test func `a stream that has not all that is missing is told of`() throws {
        try withTemporaryFolder { folder in
            try Platform.run { platform in
                try platform.publish([event("a", 1, at: now(), number: 1)])
                try platform.aggregate(until: eventsRead, is: 1)
                let path = "\(folder)/backup"
                let url = platform.postgresURL
                #expect(try Qoectl.run(["db", "backup", path, "--postgres-url", url]).code == 0)
                for number in 2...5 {
                    try platform.publish([
                        event("a", UInt64(number), at: now(), number: UInt64(number))
                    ])
                }
                try platform.jetStream.purgeStream(named: "TELEMETRY_EVENTS", below: 4)
                try withNewDatabase(beside: url) { other in
                    let restored = try Qoectl.run([
                        "db", "restore", path, "--postgres-url", other, "--nats-url",
                        platform.natsURL,
                    ])
                    #expect(restored.code == 0, "\(restored)")
                    #expect(restored.complaints.contains("begins at sequence 4"), "\(restored)")
                    #expect(restored.complaints.contains("will be in lost_ranges"))
                }
            }
        }
    }

    @Test func `an archive of another schema is refused or said to be old`() throws {
        try withTemporaryFolder { folder in
            try withPostgres(template: schema) { url in
                let database = try PostgresConnection(to: PostgresConnectionString(url))
                try database.execute(
                    "INSERT INTO schema_migrations VALUES (999, 'later', '0', now())")
                let newer = "\(folder)/newer"
                #expect(try Qoectl.run(["db", "backup", newer, "--postgres-url", url]).code == 0)
                try database.execute(
                    "DELETE FROM schema_migrations WHERE version >= \(Schema().version)")
                let older = "\(folder)/older"
                #expect(try Qoectl.run(["db", "backup", older, "--postgres-url", url]).code == 0)
                try "no archive".write(
                    toFile: "\(folder)/nonsense", atomically: true, encoding: .utf8)
                try withNewDatabase(beside: url) { other in
                    let refused = try Qoectl.run(["db", "restore", newer, "--postgres-url", other])
                    #expect(refused.code == 1)
                    #expect(refused.complaints.contains("schema version 999"), "\(refused)")
                    let nonsense = try Qoectl.run([
                        "db", "restore", "\(folder)/nonsense", "--postgres-url", other,
                    ])
                    #expect(nonsense.code == 1)
                    #expect(nonsense.complaints.contains("valid archive"), "\(nonsense)")
                    let restored = try Qoectl.run(["db", "restore", older, "--postgres-url", other])
                    #expect(restored.code == 0, "\(restored)")
                    #expect(restored.output.contains("now run qoectl db migrate"))
                }
            }
            try withPostgres { url in
                let path = "\(folder)/foreign"
                let outcome = try Qoectl.run(["db", "backup", path, "--postgres-url", url])
                #expect(outcome.code == 1)
                #expect(outcome.complaints.contains("no tables of ours"))
            }
        }
    }

    @Test func `Ctrl-C ends a backup, leaves nothing of it, and keeps the older one`() throws {
        try withTemporaryFolder { folder in
            try withPostgres(template: schema) { url in
                try "older".write(toFile: "\(folder)/dump", atomically: true, encoding: .utf8)
                let locker = try PostgresConnection(to: PostgresConnectionString(url))
                try locker.execute("BEGIN")
                try locker.execute("LOCK TABLE probes IN ACCESS EXCLUSIVE MODE")
                let observer = try PostgresConnection(to: PostgresConnectionString(url))
                let waiting = """
                    SELECT 1 FROM pg_stat_activity
                    WHERE wait_event_type = 'Lock' AND datname = current_database()
                    """
                let outcome = try Qoectl.run(
                    ["db", "backup", "\(folder)/dump", "--force", "--postgres-url", url]
                ) { process in
                    let waits = try eventually { try observer.query(waiting).rowCount == 1 }
                    #expect(waits)
                    process.interrupt()
                }
                #expect(outcome.code == 130, "\(outcome)")
                #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["dump"])
                #expect(try String(contentsOfFile: "\(folder)/dump", encoding: .utf8) == "older")
                try locker.execute("ROLLBACK")
                let ended = try eventually { try observer.query(waiting).rowCount == 0 }
                #expect(ended, "pg_dump goes on")
            }
        }
    }

    @Test func `a failed backup leaves nothing, missing roles are named, and no password is shown`()
        throws
    {
        try withTemporaryFolder { folder in
            try withPostgresServer(configure: {
                $0.authentication = .password
                $0.parameters = ["max_locks_per_transaction": "256"]
            }) { server in
                let owner = try PostgresConnection(to: PostgresConnectionString(server.url))
                _ = try Schema().migrate(owner)
                let admin = try PostgresConnection(
                    to: PostgresConnectionString(server.superuserURL(database: "telemetry")))
                try admin.execute("CREATE TABLE hidden (n int)")
                let password = "\(folder)/password"
                try FileManager.default.copyItem(
                    atPath: server.settings.passwordFile, toPath: password)
                let bare = "postgresql://qoe@127.0.0.1:\(server.port)/telemetry"
                let backup = [
                    "db", "backup", "\(folder)/out/dump", "--postgres-url", bare,
                    "--postgres-password-file", password,
                ]
                #expect(try Qoectl.run(backup).complaints.contains("No such file"))
                try FileManager.default.createDirectory(
                    atPath: "\(folder)/out", withIntermediateDirectories: false)
                let failed = try Qoectl.run(backup)
                #expect(failed.code == 1)
                #expect(
                    failed.complaints.contains("permission denied for table hidden"), "\(failed)")
                #expect(
                    try FileManager.default.contentsOfDirectory(atPath: "\(folder)/out").isEmpty)

                try admin.execute(
                    "DROP TABLE hidden; CREATE ROLE stranger; GRANT SELECT ON agg_1m TO stranger")
                let made = try Qoectl.run(backup)
                #expect(made.code == 0, "\(made)")
                #expect(made.complaints.isEmpty)
                let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/out/dump")
                #expect(mode[.posixPermissions] as? Int == 0o600)
                try withPostgres { url in
                    let refused = try Qoectl.run([
                        "db", "restore", "\(folder)/out/dump", "--postgres-url", url,
                    ])
                    #expect(refused.code == 1)
                    #expect(refused.complaints.contains("CREATE ROLE stranger;"), "\(refused)")
                    let tables = try PostgresConnection(to: PostgresConnectionString(url))
                        .query("SELECT 1 FROM pg_class WHERE relname = 'agg_1m'")
                    #expect(tables.rowCount == 0)
                }

                // What belongs to a role of its own stays with it.
                try admin.execute("CREATE ROLE boss; ALTER TABLE dead_letters OWNER TO boss")
                try admin.execute("GRANT boss TO qoe")
                #expect(try Qoectl.run(backup + ["--force"]).code == 0)
                try admin.execute("REVOKE boss FROM qoe")
                let target = server.url(database: "other")
                try owner.execute("CREATE DATABASE other")
                let restore = ["db", "restore", "\(folder)/out/dump", "--postgres-url", target]
                let foreign = try Qoectl.run(restore)
                #expect(foreign.code == 1)
                #expect(foreign.complaints.contains("GRANT boss TO qoe;"), "\(foreign)")
                try admin.execute("GRANT boss TO qoe")
                let restored = try Qoectl.run(restore)
                #expect(restored.code == 0, "\(restored)")
                var row = try #require(
                    try PostgresConnection(to: PostgresConnectionString(target)).query(
                        "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'dead_letters'"
                    ).first)
                #expect(try row.next(String.self) == "boss")
            }
        }
    }
}
