import Postgres
import Testing
import TestKit

@Suite struct ErrorTests {
    @Test func `a refused statement has its SQLSTATE and name and leaves the session usable`()
        throws
    {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            let statement = PostgresStatement("divide", "SELECT 1 / $1")
            var parameters = PostgresParameters()
            parameters.append(Int32(0))
            let error = #expect(throws: PostgresError.self) {
                try connection.query(statement, parameters)
            }
            #expect(error?.code == .server(SQLState(rawValue: "22012")))
            #expect(error?.sqlState?.isInClass(.dataException) == true)
            #expect(error?.statement == "divide")
            #expect(error?.retry == .permanent)
            #expect(try connection.query("SELECT 1").rowCount == 1)
        }
    }

    @Test func `a violated key shows its values in the detail only`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            try connection.execute("CREATE TABLE t (name text PRIMARY KEY)")
            let insert = PostgresStatement("insert", "INSERT INTO t VALUES ($1)")
            var parameters = PostgresParameters()
            parameters.append("hidden-value")
            _ = try connection.query(insert, parameters)
            let error = #expect(throws: PostgresError.self) {
                try connection.query(insert, parameters)
            }
            #expect(error?.code == .server(.uniqueViolation))
            #expect(error?.detail?.contains("hidden-value") == true)
            #expect(error.map { "\($0)".contains("hidden-value") } == false)
        }
    }

    @Test func `a text with a null character is refused for good`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            var parameters = PostgresParameters()
            parameters.append("a\0b")
            let error = #expect(throws: PostgresError.self) {
                try connection.query("SELECT $1::text", parameters)
            }
            #expect(error?.code == .server(.characterNotInRepertoire))
            #expect(error?.retry == .permanent)
        }
    }

    @Test(arguments: [
        ("40001", PostgresRetry.retriable), ("40P01", .retriable), ("57P01", .retriable),
        ("57P03", .retriable), ("53100", .retriable), ("53300", .retriable), ("08006", .retriable),
        ("25006", .retriable), ("55P03", .retriable), ("57014", .retriable), ("58030", .retriable),
        ("40003", .unknownOutcome), ("23505", .permanent), ("42P01", .permanent),
        ("22021", .permanent), ("57P04", .permanent), ("42501", .permanent), ("XX000", .permanent),
    ])
    func `the SQLSTATE decides whether to try again`(state: String, retry: PostgresRetry) {
        #expect(PostgresError(.server(SQLState(rawValue: state)), "").retry == retry)
    }

    @Test func `a host that is not there is named and worth another try`() throws {
        let address = try PostgresConnectionString("postgresql://u:hidden@127.0.0.1:1/d")
        let error = #expect(throws: PostgresError.self) { try PostgresConnection(to: address) }
        #expect(error?.code == .connectFailed)
        #expect(error?.retry == .retriable)
        #expect(error?.message.contains("127.0.0.1") == true)
        #expect(error?.message.contains("hidden") == false)
    }

    @Test func `the first host that accepts is used`() throws {
        try withPostgres { url in
            let port = try #require(url.split(separator: ":").last?.split(separator: "/").first)
            let name = try #require(url.split(separator: "/").last)
            let address = try PostgresConnectionString(
                "host=127.0.0.1,127.0.0.1 port=1,\(port) user=qoe dbname=\(name) "
                    + "target_session_attrs=read-write")
            let connection = try PostgresConnection(to: address)
            #expect(connection.host == "127.0.0.1:\(port)")
        }
    }

    @Test func `a server that only reads is passed over when writes are wanted`() throws {
        try withPostgres { url in
            let address = try PostgresConnectionString(
                url + "?options=-c%20default_transaction_read_only%3Don"
                    + "&target_session_attrs=read-write")
            let error = #expect(throws: PostgresError.self) { try PostgresConnection(to: address) }
            #expect(error?.code == .connectFailed)
            #expect(error?.message.contains("read-only") == true)
        }
    }

    @Test func `writing on a server that only reads asks for another connection`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            try connection.execute("SET default_transaction_read_only = on")
            let error = #expect(throws: PostgresError.self) {
                try connection.execute("CREATE TABLE t ()")
            }
            #expect(error?.code == .server(.readOnlySQLTransaction))
            #expect(error?.retry == .retriable)
            #expect(error?.needsNewConnection == true)
        }
    }

    @Test func `COPY is refused instead of waiting for ever`() throws {
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            #expect(throws: PostgresError.self) {
                try connection.execute("COPY (SELECT 1) TO STDOUT")
            }
        }
    }
}
