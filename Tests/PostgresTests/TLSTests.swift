import Foundation
import Postgres
import PrivateServers
import TestKit
import Testing

@Suite struct TLSTests {
    private struct OpenSSLFailed: Error {
        let arguments: [String]
    }

    private func openssl(_ arguments: String..., in folder: String) throws {
        let process = Process()
        process.executableURL = URL(
            fileURLWithPath: try InstalledProgram.find("openssl", debianPackage: "openssl"))
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw OpenSSLFailed(arguments: arguments) }
    }

    /// Makes `ca.crt`, another `stranger.crt`, and a server's `server.crt` and `server.key` for `localhost`.
    private func makeCertificates(in folder: String) throws {
        for name in ["ca", "stranger"] {
            try openssl(
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-days", "2", "-subj", "/CN=\(name)", "-keyout", "\(name).key",
                "-out", "\(name).crt", in: folder)
        }
        try openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", "server.key", "-out", "server.csr", in: folder)
        try openssl(
            "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-copy_extensions", "copy", "-out", "server.crt",
            in: folder)
        // The server must own its key, or share it with root alone.
        chmod("\(folder)/server.key", 0o600)
        if Account.isRoot {
            let account = try (try? Account(named: "postgres")) ?? Account(named: "nobody")
            chown("\(folder)/server.key", account.userIdentifier, account.groupIdentifier)
        }
    }

    @Test func `verify-full accepts the right certificate and refuses others with a reason`()
        throws
    {
        try withTemporaryFolder { folder in
            try makeCertificates(in: folder)
            let tls = [
                "ssl": "on", "ssl_cert_file": "\(folder)/server.crt",
                "ssl_key_file": "\(folder)/server.key",
            ]
            try withPostgresServer(configure: { $0.parameters = tls }) { server in
                func connect(host: String, authority: String) throws -> PostgresConnection {
                    try PostgresConnection(
                        to: PostgresConnectionString(
                            "host=\(host) hostaddr=127.0.0.1 port=\(server.port) user=qoe "
                                + "dbname=telemetry sslmode=verify-full "
                                + "sslrootcert=\(folder)/\(authority).crt"))
                }
                let connection = try connect(host: "localhost", authority: "ca")
                var row = try #require(
                    try connection.query(
                        "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl"
                    ).first)
                #expect(try row.next(String.self) == "TLSv1.3")

                let stranger = #expect(throws: PostgresError.self) {
                    try connect(host: "localhost", authority: "stranger")
                }
                #expect(stranger?.code == .connectFailed)
                #expect(stranger?.message.contains("certificate verify failed") == true)
                let misnamed = #expect(throws: PostgresError.self) {
                    try connect(host: "db.example", authority: "ca")
                }
                #expect(
                    misnamed?.message.contains(
                        #"for "localhost" does not match host name "db.example""#) == true)
                let missing = #expect(throws: PostgresError.self) {
                    try connect(host: "localhost", authority: "nothing")
                }
                #expect(missing?.message.contains("nothing.crt\" does not exist") == true)
                print(
                    [stranger, misnamed, missing].compactMap { $0?.description }
                        .joined(separator: "\n"))
            }
        }
    }

    @Test func `verify-full refuses a server without TLS`() throws {
        try withPostgres { url in
            let error = #expect(throws: PostgresError.self) {
                try PostgresConnection(to: PostgresConnectionString(url + "?sslmode=require"))
            }
            #expect(error?.message.contains("server does not support SSL") == true)
        }
    }
}
