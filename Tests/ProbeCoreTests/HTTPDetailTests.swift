import ProbeCore
import Telemetry
import TestKit
import Testing
import Transport

@Suite struct HTTPDetailTests {
    @Test func `an answer tells of its connection and its sizes`() throws {
        let target = try LocalTarget()
        defer { target.stop() }
        let found = try measure(
            "\(target.namedSecureURL)/bytes/5000", authorityFile: target.authorityFile)
        #expect(found.failure == nil)
        #expect(try text("address_family", of: found) == "ipv4")
        #expect(try number("addresses", of: found) >= 1)
        #expect(try number("addresses_tried", of: found) >= 1)
        #expect(try text("remote_address", of: found).hasPrefix("127.0.0.1:"))
        #expect(try text("local_address", of: found).hasPrefix("127.0.0.1:"))
        #expect(try text("tls_version", of: found) == "TLSv1.3")
        #expect(try text("tls_cipher", of: found).hasPrefix("TLS_"))
        #expect(try number("tls_round_trips", of: found) == 1)
        #expect(try text("alpn", of: found) == "http/1.1")
        #expect(try text("certificate_subject", of: found) == "127.0.0.1")
        #expect(try text("certificate_issuer", of: found) == "QoE local authority")
        let days = try number("certificate_days_left", of: found)
        #expect(days > 89 && days <= 90)
        #expect(try text("http_version", of: found) == "1.1")
        #expect(try number("http_status", of: found) == 200)
        #expect(try number("body_bytes", of: found) == 5000)
        #expect(try number("header_bytes", of: found) > 50)
    }

    @Test func `what there is not is absent`() throws {
        let server = try RawServer.answering("HTTP/1.0 200 OK\r\n\r\nabc")
        let found = try measure(server.url)
        #expect(found.failure == nil)
        #expect(try text("http_version", of: found) == "1.0")
        for name in [
            "addresses", "tls_version", "tls_cipher", "tls_round_trips", "alpn",
            "certificate_subject", "certificate_days_left", "stopped_at_budget",
        ] {
            #expect(detail(name, of: found) == nil, "\(name)")
        }
    }

    struct Handshake: Sendable, CustomTestStringConvertible {
        let version: TLSContext.Version
        let groups: String?
        let name: String
        let roundTrips: Double

        var testDescription: String { "\(name), \(groups ?? "any group")" }
    }

    @Test(arguments: [
        Handshake(version: .tls13, groups: nil, name: "TLSv1.3", roundTrips: 1),
        // The client's first key share is of another group, so the server asks again.
        Handshake(version: .tls13, groups: "P-521", name: "TLSv1.3", roundTrips: 2),
        Handshake(version: .tls12, groups: nil, name: "TLSv1.2", roundTrips: 2),
    ])
    func `round trips of a handshake are counted`(handshake: Handshake) throws {
        try withTemporaryFolder { folder in
            let certificates = try Certificates(
                in: folder, for: ["127.0.0.1"], versionMax: handshake.version,
                groups: handshake.groups)
            let server = try RawServer { connection, patience in
                try connection.acceptTLS(certificates.serverTLS, patience)
                _ = try connection.readHead(patience)
                try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", patience)
                try connection.drain(patience)
            }
            let found = try measure(
                server.secureURL, authorityFile: certificates.authorityFile)
            #expect(found.failure == nil)
            #expect(try text("tls_version", of: found) == handshake.name)
            #expect(try number("tls_round_trips", of: found) == handshake.roundTrips)
            // The server chose no protocol.
            #expect(detail("alpn", of: found) == nil)
        }
    }

    @Test func `a certificate that is refused still tells its expiry`() throws {
        try withTemporaryFolder { folder in
            let certificates = try Certificates(
                in: folder, for: ["127.0.0.1"], validFor: .seconds(-2 * 86_400))
            let server = try RawServer { connection, patience in
                try connection.acceptTLS(certificates.serverTLS, patience)
            }
            let found = try measure(
                server.secureURL, authorityFile: certificates.authorityFile)
            #expect(found.failure?.stage == .tls)
            let days = try number("certificate_days_left", of: found)
            #expect(days < -1.9 && days > -2.1)
            #expect(try text("certificate_subject", of: found) == "127.0.0.1")
            // The handshake came to nothing.
            #expect(detail("tls_version", of: found) == nil)
        }
    }
}
