import Testing

@testable import Postgres

@Suite struct ConnectionStringTests {
    @Test func `what the string leaves out gets a default, what it says stays`() throws {
        let address = try PostgresConnectionString(
            "postgresql://qoe@h/telemetry?connect_timeout=9&keepalives_idle=1",
            applicationName: "aggregator")
        #expect(address.parameters["connect_timeout"] == "9")
        #expect(address.parameters["keepalives_idle"] == "1")
        #expect(address.parameters["tcp_user_timeout"] == "10000")
        #expect(address.parameters["application_name"] == "aggregator")
        #expect(address.databaseName == "telemetry")
        #expect(address.database("other").databaseName == "other")
    }

    @Test func `every host of the list is tried with its own port`() throws {
        let address = try PostgresConnectionString(
            "postgresql://qoe@primary:5433,replica:5434/t?target_session_attrs=read-write")
        #expect(address.attempts.map { $0["host"] } == ["primary", "replica"])
        #expect(address.attempts.map { $0["port"] } == ["5433", "5434"])
        #expect(address.attempts.allSatisfy { $0["target_session_attrs"] == "read-write" })
    }

    @Test func `one port serves all hosts`() throws {
        let address = try PostgresConnectionString("host=a,b port=6000")
        #expect(address.attempts.map { $0["port"] } == ["6000", "6000"])
    }

    @Test func `a preferred standby is looked for first and anything taken then`() throws {
        let address = try PostgresConnectionString(
            "host=a,b target_session_attrs=prefer-standby")
        #expect(
            address.attempts.map { $0["target_session_attrs"] }
                == ["standby", "standby", "any", "any"])
        #expect(address.attempts.map { $0["host"] } == ["a", "b", "a", "b"])
    }

    @Test func `an empty string names one attempt with libpq's own defaults`() throws {
        let attempts = try PostgresConnectionString("").attempts
        #expect(attempts.count == 1)
        #expect(attempts[0]["host"] == nil)
    }

    @Test func `ports that do not match the hosts are refused`() {
        #expect(throws: PostgresError.self) {
            try PostgresConnectionString("host=a,b,c port=1,2")
        }
        #expect(throws: PostgresError.self) { try PostgresConnectionString("host=a port=1,2") }
    }

    @Test func `a password is never shown`() throws {
        let address = try PostgresConnectionString("postgresql://u:s3cret@h/db")
        #expect(!"\(address)".contains("s3cret"))
        #expect("\(address)".contains("password=***"))
    }

    @Test(arguments: [
        "postgresql://u:s3cret@h:port/db", "postgresql://u:s3cret@h/db?sslmode",
        "password=s3cret host", "postgresql://u:s3%zzcret@h/db", "password='s3cret",
        "host=h nonsense=s3cret",
    ])
    func `an error about a string shows no part of its password`(text: String) {
        let error = #expect(throws: PostgresError.self) { try PostgresConnectionString(text) }
        #expect(error?.code == .invalidConnectionString)
        #expect(error?.description.contains("cret") == false)
        #expect(error?.retry == .permanent)
    }
}
