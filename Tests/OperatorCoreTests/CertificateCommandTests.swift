import Foundation
import OwnedThreads
import TestKit
import Testing
import Transport

private let installation = """
    192.0.2.11 postgres-primary nats-1 db.example
    192.0.2.31 aggregator-1 diagnoser-1 ingest-1
    2001:db8::7 probe-a
    """

/// Runs the system's openssl.
private func openssl(_ arguments: String...) throws -> (code: Int32, output: String) {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
    process.arguments = arguments
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
}

/// A folder of certificates for `installation`.
private struct Certificates {
    let hosts: String
    let out: String

    static func make(_ body: (Certificates) throws -> Void) throws {
        try withFile(installation) { hosts in
            let certificates = Certificates(hosts: hosts, out: "\(hosts)-certificates")
            let outcome = try certificates.qoectl("init")
            #expect(outcome.code == 0, "\(outcome)")
            try body(certificates)
        }
    }

    func qoectl(_ verb: String, _ more: String...) throws -> Outcome {
        let file = verb == "status" ? [] : ["--hosts", hosts]
        return try Qoectl.run(["certs", verb, "--out", out] + file + more)
    }

    func bytes(_ name: String) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: "\(out)/\(name)"))
    }

    func mode(_ name: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: "\(out)/\(name)")[.posixPermissions]
            as? Int
    }

    /// A certificate by the same authority, in place of a service's.
    func replace(_ service: String, names: [String], validFor: Duration) throws {
        try LocalAuthority(certificateFile: "\(out)/ca.pem", keyFile: "\(out)/ca.key").issue(
            for: names, validFor: validFor, certificateFile: "\(out)/\(service)/cert.pem",
            keyFile: "\(out)/\(service)/key.pem")
    }
}

@Suite struct CertificateCommandTests {
    @Test func `openssl accepts each certificate for its own names and no other`() throws {
        try Certificates.make { certificates in
            let out = certificates.out
            for (service, address) in [("nats-1", "192.0.2.11"), ("probe-a", "2001:db8::7")] {
                let file = "\(out)/\(service)/cert.pem"
                for purpose in ["sslserver", "sslclient"] {
                    let verified = try openssl(
                        "verify", "-x509_strict", "-purpose", purpose, "-CAfile",
                        "\(out)/\(service)/ca.pem", file)
                    #expect(verified.output == "\(file): OK\n")
                }
                func answer(_ flag: String, _ name: String) throws -> String {
                    try openssl("x509", "-noout", "-in", file, flag, name).output
                }
                #expect(try answer("-checkhost", service).contains("does match"))
                #expect(try answer("-checkip", address).contains("does match"))
                #expect(try answer("-checkhost", "postgres-primary").contains("NOT match"))
                #expect(try answer("-checkip", "192.0.2.31").contains("NOT match"))
            }
            let text = try openssl("x509", "-noout", "-text", "-in", "\(out)/ca.pem").output
            for part in ["CA:TRUE, pathlen:0", "prime256v1", "Certificate Sign, CRL Sign"] {
                #expect(text.contains(part))
            }
            for (name, mode) in [
                ("", 0o700), ("ca.key", 0o600), ("ca.pem", 0o644), ("nats-1", 0o755),
                ("nats-1/key.pem", 0o600), ("nats-1/cert.pem", 0o644), ("nats-1/ca.pem", 0o644),
                ("nats-1/bundle.pem", 0o600),
            ] {
                #expect(try certificates.mode(name) == mode, "\(name)")
            }
            #expect(
                try certificates.bytes("nats-1/bundle.pem")
                    == certificates.bytes("nats-1/cert.pem") + certificates.bytes("nats-1/key.pem"))
        }
    }

    @Test func `our own TLS trusts them, for their names alone`() throws {
        try Certificates.make { certificates in
            let folder = "\(certificates.out)/nats-1"
            let listener = try Listener(host: "127.0.0.1", port: 0)
            let tls = try TLSContext.server(
                certificateFile: "\(folder)/cert.pem", keyFile: "\(folder)/key.pem")
            let context = try TLSContext.client(
                authorityFile: "\(certificates.out)/ingest-1/ca.pem")
            for (name, isGood) in [
                ("nats-1", true), ("192.0.2.11", true), ("db.example", true),
                ("postgres-primary", false), ("192.0.2.12", false),
            ] {
                let server = OwnedThread(name: "server") {
                    guard let connection = try? listener.accept(Patience(for: .seconds(30)))
                    else { return }
                    try? connection.acceptTLS(tls, Patience(for: .seconds(30)))
                }
                defer { server.join() }
                let client = try Connection.open(listener.address, Patience(for: .seconds(30)))
                do throws(TransportError) {
                    try client.startTLS(
                        context, serverName: name, Patience(for: .seconds(30)))
                    #expect(isGood, "\(name)")
                } catch {
                    #expect(!isGood && error.code == .certificate, "\(name): \(error)")
                }
            }
        }
    }

    @Test func `a second run changes nothing, and mends what is wrong`() throws {
        try Certificates.make { certificates in
            let services = [
                "postgres-primary", "nats-1", "aggregator-1", "diagnoser-1", "ingest-1", "probe-a",
            ]
            let files =
                ["ca.pem", "ca.key"]
                + services.flatMap {
                    ["\($0)/cert.pem", "\($0)/key.pem", "\($0)/bundle.pem"]
                }
            let before = try files.map(certificates.bytes)
            let second = try certificates.qoectl("init")
            #expect(second.output.hasSuffix("0 made, 6 kept\n"), "\(second)")
            #expect(try files.map(certificates.bytes) == before)

            let files2 = FileManager.default
            try files2.removeItem(atPath: "\(certificates.out)/aggregator-1/cert.pem")
            try files2.removeItem(atPath: "\(certificates.out)/diagnoser-1/key.pem")
            try Data("nonsense".utf8).write(
                to: URL(fileURLWithPath: "\(certificates.out)/diagnoser-1/ca.pem"))
            try certificates.replace(
                "nats-1", names: ["nats-1", "db.example", "192.0.2.11"], validFor: .seconds(86_400))
            try certificates.replace("ingest-1", names: ["ingest-1"], validFor: .seconds(1 << 24))
            try LocalAuthority().issue(
                for: ["probe-a", "2001:db8::7"],
                certificateFile: "\(certificates.out)/probe-a/cert.pem",
                keyFile: "\(certificates.out)/probe-a/key.pem")
            let third = try certificates.qoectl("renew")
            #expect(third.code == 0, "\(third)")
            for line in [
                "/nats-1/: made (expiring) for nats-1, db.example, 192.0.2.11\n",
                "/aggregator-1/: made (missing) for", "/diagnoser-1/: made (without its key) for",
                "/ingest-1/: made (for other names) for ingest-1, 192.0.2.31\n",
                "/probe-a/: made (of another authority) for", "5 made, 1 kept\n",
            ] {
                #expect(third.output.contains(line), "\(third.output)")
            }
            #expect(try certificates.bytes("diagnoser-1/ca.pem") == certificates.bytes("ca.pem"))
            for service in services {
                #expect(
                    try certificates.bytes("\(service)/bundle.pem")
                        == certificates.bytes("\(service)/cert.pem")
                        + certificates.bytes("\(service)/key.pem"), "\(service)")
            }
            #expect(try certificates.qoectl("renew").output == "0 made, 6 kept\n")
            #expect(
                try certificates.qoectl("renew", "--force").output.hasSuffix("6 made, 0 kept\n"))
            #expect(try certificates.bytes("ca.pem") == before[0])
        }
    }

    @Test func `status tells by its exit code that something ends`() throws {
        try Certificates.make { certificates in
            let good = try certificates.qoectl("status")
            #expect(good.code == 0, "\(good)")
            #expect(good.output.contains("ca                good   20"))
            try certificates.replace("nats-1", names: ["nats-1"], validFor: .seconds(20 * 86_400))
            try certificates.replace("ingest-1", names: ["ingest-1"], validFor: .seconds(-60))
            try FileManager.default.removeItem(
                atPath: "\(certificates.out)/aggregator-1/key.pem")
            let ending = try certificates.qoectl("status", "--json")
            #expect(ending.code == 1)
            #expect(ending.complaints.contains("qoectl certs renew"))
            let entries =
                try JSONSerialization.jsonObject(with: Data(ending.output.utf8))
                as? [[String: Any]]
            let states = Dictionary(
                (entries ?? []).map { ($0["name"] as? String, $0["state"] as? String) },
                uniquingKeysWith: { first, _ in first })
            #expect(states["nats-1"] == "EXPIRING")
            #expect(states["ingest-1"] == "EXPIRED")
            #expect(states["aggregator-1"] == "NO KEY")
            #expect(states["ca"] == "good")
        }
    }

    @Test func `an authority is never made over another one`() throws {
        try Certificates.make { certificates in
            try FileManager.default.removeItem(atPath: "\(certificates.out)/ca.key")
            for verb in ["init", "renew"] {
                let outcome = try certificates.qoectl(verb)
                #expect(outcome.code == 1)
                #expect(outcome.complaints.contains("put its ca.pem and ca.key back"), "\(outcome)")
            }
            try FileManager.default.removeItem(atPath: certificates.out)
            for verb in ["renew", "status"] {
                let outcome = try certificates.qoectl(verb)
                #expect(outcome.code == 1)
                #expect(outcome.complaints.contains("qoectl certs init makes one"), "\(outcome)")
            }
        }
    }

    @Test func `a certificate ends with its authority, and is for names alone`() throws {
        try withTemporaryFolder { folder in
            let authority = try LocalAuthority(validFor: .seconds(3600))
            let file = "\(folder)/cert.pem"
            func issue(_ name: String) throws {
                try authority.issue(
                    for: [name], certificateFile: file, keyFile: "\(folder)/key.pem")
            }
            for name in ["a,DNS:b", "", "a b", "DNS:a", "ä"] {
                let error = #expect(throws: TransportError.self) { try issue(name) }
                #expect(error?.code == .invalidConfiguration, "\(name)")
            }
            #expect(!FileManager.default.fileExists(atPath: file))
            try issue("a")
            let certificate = try StoredCertificate(file: file)
            #expect(certificate.expiresAtSeconds == authority.expiresAtSeconds)
            #expect(certificate.names == ["a"])
            #expect(authority.signed(certificate))
            #expect(try !LocalAuthority().signed(certificate))
            let serials = try (0..<2).map { _ in
                try issue("a")
                return try openssl("x509", "-noout", "-serial", "-in", file).output
            }
            #expect(serials[0] != serials[1])
            #expect(try openssl("x509", "-noout", "-in", "\(folder)/key.pem").code != 0)
            let refused = #expect(throws: TransportError.self) {
                try StoredCertificate(file: "\(folder)/key.pem")
            }
            #expect(refused?.code == .invalidConfiguration)
        }
    }
}
