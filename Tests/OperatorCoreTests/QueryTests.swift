import Foundation
import OperatorCore
import OwnedThreads
import Postgres
import PrivateServers
import TestKit
import Testing

@Suite struct QueryFormTests {
    private func ask(_ sql: String) throws -> PostgresText {
        try withPostgres { url in
            try DatabaseQuery(
                PostgresConnection(to: PostgresConnectionString(url)), timeout: .seconds(30)
            ).run(sql, rowLimit: 100)
        }
    }

    private static let row = """
        SELECT timestamptz '2026-11-21 07:26:00.5+01' AS at, date '2026-11-21' AS day,
            9007199254740993 AS n, 0.10::numeric AS price, 'NaN'::float8 AS none, true AS good,
            NULL::text AS nothing, '' AS empty, 'a "b", c' || E'\\r\\n\\u0007' AS text,
            '{"k": [1]}'::jsonb AS j, 1 AS n, ARRAY[1, NULL] AS list,
            timestamp '2026-11-21 07:26' AS plain, 'infinity'::timestamptz AS never
        """

    @Test func `JSON has numbers with all digits, and null and the empty text apart`() throws {
        let json = QueryForms.json(try ask(Self.row))
        #expect(
            json == """
                [
                {"at":"2026-11-21T06:26:00.5Z","day":"2026-11-21","n":9007199254740993,"price":0.10,\
                "none":"NaN","good":true,"nothing":null,"empty":"",\
                "text":"a \\"b\\", c\\r\\n\\u0007","j":{"k": [1]},"n_2":1,"list":"{1,NULL}",\
                "plain":"2026-11-21T07:26:00","never":"infinity"}
                ]

                """)
        _ = try JSONSerialization.jsonObject(with: Data(json.utf8))
        #expect(try QueryForms.json(ask("SELECT 1 WHERE false")) == "[]\n")
    }

    @Test func `CSV is that of RFC 4180, and NULL is not the empty text`() throws {
        let csv = QueryForms.csv(try ask(Self.row))
        #expect(
            csv == "at,day,n,price,none,good,nothing,empty,text,j,n,list,plain,never\r\n"
                + "2026-11-21T06:26:00.5Z,2026-11-21,9007199254740993,0.10,NaN,t,,\"\","
                + "\"a \"\"b\"\", c\r\n\u{7}\",\"{\"\"k\"\": [1]}\",1,\"{1,NULL}\","
                + "2026-11-21T07:26:00,infinity\r\n")
    }

    @Test func `a table shows NULL, aligns numbers, and lets no value control the terminal`()
        throws
    {
        let lines = QueryForms.table(
            try ask(
                "VALUES (5, E'a\\u001b[31m', NULL), (1000, '', 'x')"))
        #expect(
            lines == [
                "column1  column2  column3", "      5  a\u{FFFD}[31m   NULL",
                "   1000           x", "(2 rows)",
            ])
    }

    @Test func `a question changes nothing, whatever it tries`() throws {
        try withPostgres { url in
            let owner = try PostgresConnection(to: PostgresConnectionString(url))
            try owner.execute("CREATE SEQUENCE s")
            func ask(_ sql: String) throws {
                let asking = try PostgresConnection(to: PostgresConnectionString(url))
                _ = try DatabaseQuery(asking, timeout: .seconds(30)).run(sql, rowLimit: 1)
            }
            for sql in [
                "CREATE TABLE t ()", "SELECT nextval('s')", "COMMIT; CREATE TABLE t ()",
                "SELECT set_config('transaction_read_only', 'off', true), nextval('s')",
            ] {
                #expect(throws: PostgresError.self, "\(sql)") { try ask(sql) }
            }
            // PostgreSQL 15 lets a transaction that only reads make large objects; it is never committed.
            try? ask("SELECT lo_create(0)")
            try ask("SET TRANSACTION READ WRITE")
            #expect(try owner.query("SELECT 1 FROM pg_largeobject_metadata").rowCount == 0)
        }
    }

    @Test func `a statement that takes too long is ended by the server`() throws {
        let error = #expect(throws: PostgresError.self) {
            try withPostgres { url in
                try DatabaseQuery(
                    PostgresConnection(to: PostgresConnectionString(url)),
                    timeout: .milliseconds(50)
                ).run("SELECT pg_sleep(600)", rowLimit: 1)
            }
        }
        #expect(error?.sqlState == .queryCanceled)
        #expect(error?.report?.contains("statement timeout") == true)
    }
}

@Suite struct LinePlotTests {
    private func plot(_ sql: String, width: Int = 40, height: Int = 4) throws -> [String] {
        try withPostgres { url in
            let text = try DatabaseQuery(
                PostgresConnection(to: PostgresConnectionString(url)), timeout: .seconds(30)
            ).run(sql, rowLimit: 1000)
            return try LinePlot(text).lines(width: width, height: height)
        }
    }

    @Test func `a rising line goes from the lower left to the upper right`() throws {
        let lines = try plot("SELECT n, n * 100 AS load FROM generate_series(0, 10) AS n")
        #expect(
            lines == [
                "load  from 0 to 1000, last 1000",
                "1000 ┤                         ⢀⣀⣀⠤⠔⠒⠒⠉⠉",
                "     │                ⢀⣀⡠⠤⠤⠒⠒⠉⠉⠁",
                "     │       ⢀⣀⡠⠤⠤⠒⠒⠊⠉⠁",
                "   0 ┤⣀⠤⠤⠒⠒⠉⠉⠁",
                "     └──────────────────────────────────",
                "      0               5               10",
                "      n",
            ], "\(lines.joined(separator: "\n"))")
    }

    @Test func `NULL is a gap, and rows are drawn in the order of time`() throws {
        let lines = try plot(
            """
            SELECT timestamptz '2026-11-20 00:00Z' + n * interval '1 hour' AS at,
                CASE WHEN n BETWEEN 8 AND 15 THEN NULL ELSE 5 END AS a, NULL::int AS b
            FROM generate_series(0, 24) AS n ORDER BY random()
            """)
        #expect(lines[0] == "a  from 5 to 5, last 5, 8 of 25 are NULL")
        let drawn = lines[1...4].map { line in
            String(line.drop { $0 != "┤" && $0 != "│" }.dropFirst())
        }.first { !$0.allSatisfy { $0 == " " } }
        let parts = try #require(drawn).split(separator: " ")
        #expect(parts.count == 2, "\(lines.joined(separator: "\n"))")
        #expect(lines.contains("b: nothing was measured"))
        #expect(lines[lines.count - 2].contains("2026-11-20 00:00"))
        #expect(lines[lines.count - 2].hasSuffix("2026-11-21 00:00"))
        #expect(lines.last?.hasSuffix("at (UTC)") == true)
    }

    @Test(arguments: [
        "SELECT 'a', 1", "SELECT 1", "SELECT 1, 'x'::text", "SELECT 1, 2 WHERE false",
        "SELECT NULL::int, 2", "SELECT 1,2,3,4,5,6,7,8,9,10,11,12,13,14",
    ])
    func `what cannot be drawn is refused with a reason`(sql: String) throws {
        #expect(throws: OperatorError.self) { try plot(sql) }
    }

    @Test(arguments: [
        "SELECT 1, 1e308 UNION SELECT 2, -1e308", "SELECT 1, 'NaN'::float8 UNION SELECT 2, 0",
        "SELECT 1e300, 5e-324 UNION SELECT -1e300, 0", "SELECT 1, 'Infinity'::float8",
        "SELECT 1, 9223372036854775807 UNION SELECT 1, 9223372036854775806",
        "SELECT '294276-12-31'::date, 1 UNION SELECT '4713-01-01 BC'::date, 2",
        "SELECT 'infinity'::timestamptz, 1 UNION SELECT '0001-01-01Z'::timestamptz, 1e15",
    ])
    func `the ends of what numbers and times can be are drawn as well`(sql: String) throws {
        #expect(!(try plot(sql, width: 20, height: 1)).isEmpty)
    }
}

@Suite struct QueryCommandTests {
    @Test func `readers go on with the replica while the primary is away`() throws {
        try withTemporaryFolder { folder in
            try withPostgresServer { primary in
                let setup = try PostgresConnection(to: PostgresConnectionString(primary.url))
                try setup.execute("CREATE TABLE t AS SELECT 7 AS seven")
                setup.close()
                var settings = PostgresServer.Settings(dataFolder: "\(folder)/replica")
                settings.isDurable = false
                settings.primaryURL = primary.superuserURL()
                let replica = try PostgresServer(settings)
                defer { try? replica.kill() }
                try primary.awaitReplay(by: replica)
                // A replica knows the time of what it replayed itself only.
                try PostgresConnection(to: PostgresConnectionString(primary.url))
                    .execute("INSERT INTO t VALUES (7)")
                try primary.awaitReplay(by: replica)
                let url =
                    "postgresql://qoe@127.0.0.1:\(primary.port),127.0.0.1:\(replica.port)"
                    + "/telemetry"
                let query = [
                    "query", "--format", "csv", "SELECT DISTINCT seven FROM t", "--postgres-url",
                ]

                let both = try Qoectl.run(query + [url])
                #expect(both.code == 0, "\(both)")
                #expect(both.output == "seven\r\n7\r\n")
                #expect(both.complaints.hasPrefix("replica 127.0.0.1:\(replica.port), at most "))
                #expect(both.complaints.contains("s behind"))
                let other = try Qoectl.run(query + [url + "?target_session_attrs=primary"])
                #expect(other.code == 0)
                #expect(other.complaints.isEmpty)

                try primary.kill()
                let alone = try Qoectl.run(query + [url])
                #expect(alone.code == 0, "\(alone)")
                #expect(alone.output == "seven\r\n7\r\n")
                print(alone.complaints)
                #expect(
                    try eventually {
                        try Qoectl.run(query + [url]).complaints.contains("following no primary")
                    })
                let refused = try Qoectl.run(query + [url + "?target_session_attrs=read-write"])
                #expect(refused.code == 1)
                #expect(refused.complaints.contains("without it a replica is asked too"))
            }
        }
    }

    @Test func `a wrong statement is shown with the place, and rows are bounded`() throws {
        try withPostgres { url in
            let wrong = try Qoectl.run(["query", "SELECT 1 FORM t", "--postgres-url", url])
            #expect(wrong.code == 1)
            #expect(wrong.output.isEmpty)
            #expect(
                wrong.complaints.contains(
                    """
                    ERROR:  syntax error at or near "t"
                    LINE 1: SELECT 1 FORM t
                                          ^
                    """), "\(wrong)")
            let many = try Qoectl.run([
                "query", "--max-rows", "2", "SELECT generate_series(1, 9)", "--postgres-url", url,
            ])
            #expect(many.code == 0)
            #expect(many.output == "generate_series\n              1\n              2\n(2 rows)\n")
            #expect(many.complaints.contains("cut off after 2 rows"))
            #expect(try Qoectl.run(["query"]).code == 64)
            #expect(try Qoectl.run(["query", "--plot", "--format", "csv", "SELECT 1"]).code == 64)
        }
    }

    @Test func `Ctrl-C ends the statement at the server`() throws {
        try withPostgres { url in
            let observer = try PostgresConnection(to: PostgresConnectionString(url))
            let running = """
                SELECT 1 FROM pg_stat_activity WHERE application_name = 'qoectl'
                    AND wait_event = 'PgSleep' AND datname = current_database()
                """
            let outcome = try Qoectl.run(
                ["query", "SELECT pg_sleep(600)", "--postgres-url", url]
            ) { process in
                let runs = try eventually { try observer.query(running).rowCount == 1 }
                #expect(runs)
                process.interrupt()
            }
            #expect(outcome.code == 130)
            let ended = try eventually { try observer.query(running).rowCount == 0 }
            #expect(ended, "the statement runs on")
        }
    }

    @Test func `passwords come from files and are shown nowhere`() throws {
        try withTemporaryFolder { folder in
            try withPostgresServer(configure: { $0.authentication = .password }) { server in
                let password = try String(
                    contentsOfFile: server.settings.passwordFile, encoding: .utf8
                ).trimmingCharacters(in: .newlines)
                let bare = "postgresql://qoe@127.0.0.1:\(server.port)/telemetry"
                let query = ["query", "SELECT 1", "--postgres-url"]
                let secret = "\(folder)/secret"
                try (password + "\n").write(toFile: secret, atomically: true, encoding: .utf8)
                let byFlag = try Qoectl.run(query + [bare, "--postgres-password-file", secret])
                #expect(byFlag.code == 0, "\(byFlag)")
                #expect(byFlag.complaints.isEmpty)
                let byVariable = try Qoectl.run(
                    query + [bare], environment: ["QOE_POSTGRES_PASSWORD_FILE": secret])
                #expect(byVariable.code == 0, "\(byVariable)")

                let pgpass = "127.0.0.1:*:telemetry:qoe:\(password)\n"
                try pgpass.write(toFile: "\(folder)/.pgpass", atomically: true, encoding: .utf8)
                chmod("\(folder)/.pgpass", 0o600)
                #expect(try Qoectl.run(query + [bare], environment: ["HOME": folder]).code == 0)
                let named = ["PGPASSFILE": "\(folder)/.pgpass"]
                #expect(try Qoectl.run(query + [bare], environment: named).code == 0)

                let visible = try Qoectl.run(query + [server.url])
                #expect(visible.code == 0)
                #expect(visible.complaints.contains("list of processes"), "\(visible)")
                #expect(!visible.complaints.contains(password))
                let wrong = try Qoectl.run(
                    query + ["postgresql://qoe:wr0ng@127.0.0.1:\(server.port)/telemetry"])
                #expect(wrong.code == 1)
                #expect(wrong.complaints.contains("password authentication failed"))
                #expect(!wrong.complaints.contains("wr0ng"))
                let missing = try Qoectl.run(
                    query + [bare, "--postgres-password-file", "\(folder)/none"])
                #expect(missing.code == 1)
                #expect(missing.complaints.contains("\(folder)/none does not exist"))
            }
        }
    }
}
