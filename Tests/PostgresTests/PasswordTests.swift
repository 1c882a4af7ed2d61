import Foundation
import Postgres
import PrivateServers
import TestKit
import Testing

@Suite struct PasswordTests {
    private func withPassword(_ body: (PostgresServer, String) throws -> Void) throws {
        try withPostgresServer(configure: { $0.authentication = .password }) { server in
            let text = try String(contentsOfFile: server.settings.passwordFile, encoding: .utf8)
            try body(server, text.trimmingCharacters(in: .newlines))
        }
    }

    private func bareURL(_ server: PostgresServer) -> String {
        "postgresql://qoe@127.0.0.1:\(server.port)/telemetry"
    }

    private func write(_ text: String, to path: String) throws {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        chmod(path, 0o600)
    }

    @Test func `a password file is read anew for each connection`() throws {
        try withTemporaryFolder { folder in
            try withPassword { server, password in
                let path = "\(folder)/secret"
                let address = try PostgresConnectionString(
                    bareURL(server), passwordFile: path)
                try write("\(password)\n", to: path)
                let connection = try PostgresConnection(to: address)
                try connection.execute("ALTER ROLE qoe PASSWORD 'rotated it''s'")
                // What was there before is refused now, and never shown.
                let refused = #expect(throws: PostgresError.self) {
                    try PostgresConnection(to: address)
                }
                #expect(refused?.code == .connectFailed)
                #expect(refused?.message.contains("password authentication failed") == true)
                #expect(refused.map { "\($0)".contains(password) } == false)
                try write("rotated it's", to: path)
                #expect(try PostgresConnection(to: address).query("SELECT 1").rowCount == 1)
                #expect(!"\(address)".contains("rotated"))
            }
        }
    }

    @Test func `libpq's own password file is used where the string or the home folder names it`()
        throws
    {
        try withTemporaryFolder { folder in
            try withPassword { server, password in
                let path = "\(folder)/pgpass"
                try write("127.0.0.1:\(server.port):*:qoe:\(password)\n", to: path)
                let address = try PostgresConnectionString(
                    bareURL(server) + "?passfile=\(path)")
                #expect(try PostgresConnection(to: address).query("SELECT 1").rowCount == 1)
                // libpq does not trust a file that others can read.
                chmod(path, 0o644)
                let error = #expect(throws: PostgresError.self) {
                    try PostgresConnection(to: address)
                }
                #expect(error?.message.contains("no password supplied") == true)
            }
        }
    }

    @Test(arguments: [
        (nil, "does not exist"), ("", "is empty"), ("\n", "is empty"),
        ("one\ntwo\n", "more than one line"), (String(repeating: "x", count: 5000), "longer than"),
        ("a\0b", "is not text"),
    ])
    func `a password file that cannot be used is named, with the reason`(
        content: String?, reason: String
    ) throws {
        try withTemporaryFolder { folder in
            let path = "\(folder)/secret"
            if let content { try write(content, to: path) }
            let address = try PostgresConnectionString(
                "postgresql://qoe@127.0.0.1:1/t", passwordFile: path)
            let error = #expect(throws: PostgresError.self) { try PostgresConnection(to: address) }
            #expect(error?.message.contains("the password file \(path) ") == true)
            #expect(error?.message.contains(reason) == true, "\(String(describing: error))")
            #expect(error?.retry == .retriable)
        }
    }

    @Test func `a folder is no password file`() throws {
        try withTemporaryFolder { folder in
            let address = try PostgresConnectionString("host=127.0.0.1", passwordFile: folder)
            let error = #expect(throws: PostgresError.self) { try PostgresConnection(to: address) }
            #expect(error?.message.contains("is a folder") == true)
        }
    }

    @Test func `two passwords are one too many`() {
        let error = #expect(throws: PostgresError.self) {
            try PostgresConnectionString("postgresql://u:s3cret@h/db", passwordFile: "/secret")
        }
        #expect(error?.code == .invalidConnectionString)
        #expect(error?.message.contains("leave one out") == true)
    }

    @Test func `a string knows whether it holds a password`() throws {
        #expect(try PostgresConnectionString("postgresql://u:s3cret@h/db").holdsPassword)
        #expect(try PostgresConnectionString("host=h sslpassword=x").holdsPassword)
        #expect(try !PostgresConnectionString("postgresql://u@h/db?passfile=/p").holdsPassword)
    }
}

@Suite struct HandedOnAccessTests {
    @Test func `what PostgreSQL's own programs are given has the host found and no secret in it`()
        throws
    {
        try withPostgres { url in
            let port = try #require(url.split(separator: ":").last?.split(separator: "/").first)
            let name = try #require(url.split(separator: "/").last)
            let address = try PostgresConnectionString(
                "host=127.0.0.1,127.0.0.1 port=1,\(port) user=qoe dbname=\(name) "
                    + #"password='s3c\'ret' target_session_attrs=read-write"#)
            let connection = try PostgresConnection(to: address)
            let access = try address.access(sameServerAs: connection)
            #expect(!access.arguments.contains("s3c"))
            #expect(access.environment == ["PGPASSWORD": "s3c'ret"])
            #expect(access.arguments.contains("port='\(port)'"))
            #expect(!access.arguments.contains("target_session_attrs"))
            #expect(
                try PostgresConnection(to: PostgresConnectionString(access.arguments)).host
                    == "127.0.0.1:\(port)")
        }
        let withKey = try PostgresConnectionString("host=127.0.0.1 sslpassword=x")
        try withPostgres { url in
            let connection = try PostgresConnection(to: PostgresConnectionString(url))
            #expect(throws: PostgresError.self) {
                try withKey.access(sameServerAs: connection)
            }
        }
    }
}
