import OwnedThreads
import Postgres
import TestKit
import Testing

@Suite struct TextQueryTests {
    private func ask(
        _ sql: String, rowLimit: Int = 100, byteLimit: Int = 1 << 20, _ url: String
    ) throws -> PostgresText {
        try PostgresConnection(to: PostgresConnectionString(url))
            .queryText(sql, rowLimit: rowLimit, byteLimit: byteLimit)
    }

    @Test func `values come as the server writes them, and NULL is no empty text`() throws {
        try withPostgres { url in
            let text = try ask(
                "SELECT 1 AS n, NULL::text AS nothing, '' AS empty, 0.1::numeric, true AS n", url)
            #expect(text.columns.map(\.name) == ["n", "nothing", "empty", "numeric", "n"])
            #expect(text.columns.map(\.typeID.rawValue) == [23, 25, 25, 1700, 16])
            #expect(text.rows == [["1", nil, "", "0.1", "t"]])
            #expect(text.commandTag == "SELECT 1")
            #expect(!text.isCut)
            #expect(try ask("SELECT 1 AS n WHERE false", url).columns.map(\.name) == ["n"])
            #expect(try ask("", url).rows.isEmpty)
        }
    }

    @Test func `too many rows are cut, and the server stops making them`() throws {
        try withPostgres { url in
            // In the list of columns it makes rows as they are asked for, in FROM all at once.
            let endless = "SELECT generate_series(1, 10000000000)"
            let text = try ask(endless, rowLimit: 3, url)
            #expect(text.rows.map { $0[0] } == ["1", "2", "3"])
            #expect(text.isCut)
            let wide = try ask(
                "SELECT repeat('x', 1000) FROM generate_series(1, 1000000)", rowLimit: .max,
                byteLimit: 10_000, url)
            #expect(wide.rows.count == 10)
            #expect(wide.isCut)
            let exact = try ask("SELECT generate_series(1, 3)", rowLimit: 3, url)
            #expect(exact.rows.count == 3)
            #expect(!exact.isCut)
        }
    }

    @Test func `a refusal shows the place`() throws {
        try withPostgres { url in
            let error = #expect(throws: PostgresError.self) {
                try ask("SELECT count(*) FORM agg_1m", url)
            }
            #expect(error?.sqlState == .syntaxError)
            let report = try #require(error?.report)
            #expect(report.contains("LINE 1: SELECT count(*) FORM agg_1m"))
            #expect(report.contains("\n                             ^"))
            let second = #expect(throws: PostgresError.self) { try ask("SELECT 1; SELECT 2", url) }
            #expect(second?.sqlState == .syntaxError)
        }
    }

    @Test func `an interrupt ends the statement at the server too`() throws {
        try withPostgres { url in
            let interrupt = try PostgresInterrupt()
            let connection = try PostgresConnection(
                to: PostgresConnectionString(url, applicationName: "asked"), interrupt: interrupt)
            let observer = try PostgresConnection(to: PostgresConnectionString(url))
            let running =
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'asked' "
                + "AND state = 'active'"
            let address = try PostgresConnectionString(url)
            let saboteur = OwnedThread(name: "saboteur") {
                guard let own = try? PostgresConnection(to: address) else { return }
                _ = eventually { (try? own.query(running).rowCount) == 1 }
                interrupt.trigger()
            }
            defer { saboteur.join() }
            let error = #expect(throws: PostgresError.self) {
                try connection.queryText("SELECT pg_sleep(600)", rowLimit: 1, byteLimit: 1)
            }
            #expect(error?.code == .interrupted)
            let ended = try eventually { try observer.query(running).rowCount == 0 }
            #expect(ended, "the statement runs on")
        }
    }
}
