import Postgres
import Testing
import TestKit

@Suite struct PipelineTests {
    private let insert = PostgresStatement("insert", "INSERT INTO t VALUES ($1)")
    private let all = PostgresStatement("all", "SELECT n FROM t ORDER BY n")

    private func pipeline(_ numbers: [Int64]) -> PostgresPipeline {
        var pipeline = PostgresPipeline()
        for number in numbers {
            var parameters = PostgresParameters()
            parameters.append(number)
            pipeline.append(insert, parameters)
        }
        return pipeline
    }

    private func numbers(_ connection: PostgresConnection) throws -> [Int64] {
        try connection.query(all).rows.map { row in
            var row = row
            return try row.next(Int64.self)
        }
    }

    private func withTable(_ body: (PostgresConnection) throws -> Void) throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            try connection.execute("CREATE TABLE t (n bigint PRIMARY KEY)")
            try body(connection)
        }
    }

    @Test func `results come in the order of the statements`() throws {
        try withTable { connection in
            var steps = pipeline([1, 2, 3])
            steps.append(all)
            let results = try connection.run(steps)
            #expect(results.map(\.affectedRows) == [1, 1, 1, 3])
            #expect(try numbers(connection) == [1, 2, 3])
        }
    }

    @Test func `the first failing statement is reported and nothing stays`() throws {
        try withTable { connection throws in
            let error = #expect(throws: PostgresError.self) {
                try connection.runTransaction(pipeline([1, 2, 2, 3]))
            }
            #expect(error?.code == .server(.uniqueViolation))
            #expect(error?.statement == "insert")
            #expect(try numbers(connection).isEmpty)
            #expect(try connection.runTransaction(pipeline([7])).count == 1)
            #expect(try numbers(connection) == [7])
        }
    }

    @Test func `a statement that cannot be prepared fails alone and can be repaired`() throws {
        try withTable { connection in
            let late = PostgresStatement("late", "INSERT INTO later VALUES (1)")
            var steps = pipeline([1])
            steps.append(late)
            let error = #expect(throws: PostgresError.self) { try connection.runTransaction(steps) }
            #expect(error?.code == .server(.undefinedTable))
            #expect(error?.statement == "late")
            try connection.execute("CREATE TABLE later (n int)")
            #expect(try connection.runTransaction(steps).count == 2)
        }
    }

    @Test func `more than the socket takes at once passes in both directions`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            let text = String(repeating: "x", count: 4 << 20)
            var steps = PostgresPipeline()
            for _ in 0..<8 {
                var parameters = PostgresParameters()
                parameters.append(text)
                steps.append(PostgresStatement("echo", "SELECT $1::text"), parameters)
            }
            for result in try connection.run(steps) {
                var row = try #require(result.first)
                #expect(try row.next(String.self).utf8.count == text.utf8.count)
            }
        }
    }

    @Test func `a transaction that throws is rolled back`() throws {
        try withTable { connection in
            let refusal = PostgresError(.unexpectedResult, "no")
            #expect(throws: refusal) {
                try connection.transaction { () throws(PostgresError) in
                    _ = try connection.run(pipeline([1]))
                    throw refusal
                }
            }
            #expect(try numbers(connection).isEmpty)
            let count = try connection.transaction { () throws(PostgresError) in
                try connection.run(pipeline([1, 2])).count
            }
            #expect(count == 2)
            #expect(try numbers(connection) == [1, 2])
        }
    }

    @Test func `a transaction whose error was swallowed does not count as committed`() throws {
        try withTable { connection in
            let error = #expect(throws: PostgresError.self) {
                try connection.transaction { () throws(PostgresError) in
                    do { try connection.execute("SELECT 1 / 0") } catch {}
                }
            }
            #expect(error?.code == .unexpectedResult)
        }
    }
}
