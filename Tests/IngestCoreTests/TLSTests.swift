import FoundationEssentials
import Glibc
import IngestCore
import ServiceKit
import TestKit
import Testing
import Transport

/// The API behind TLS, asked by curl.
@Suite(.serialized) struct TLSTests {
    private func withCertificates(
        _ body: (TestCertificates) async throws -> Void
    ) async throws {
        try await withTemporaryFolder { folder in try await body(TestCertificates(folder)) }
    }

    /// The status of a post, 0 when there was no answer.
    private func post(
        _ ingest: RunningIngest, _ certificates: TestCertificates, client: String = "probe-001",
        token: Bool = true, _ flags: String = ""
    ) throws -> Int {
        let authorization = token ? "-H 'Authorization: Bearer \(ingest.token)'" : ""
        let command =
            "curl -s -o /dev/null -w '%{http_code}' --cacert '\(certificates.path("ca"))' \(flags) "
            + "\(authorization) -H 'Content-Type: application/json' "
            + "-d '\(eventJSON(client: client))' https://localhost:\(ingest.port)/events 2>&1"
        let output = try #require(popen(command, "r"))
        defer { pclose(output) }
        var text = [CChar](repeating: 0, count: 64)
        fgets(&text, Int32(text.count), output)
        return Int(String(decoding: text.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)) ?? 0
    }

    @Test func `events come over TLS 1.3 and nothing older`() async throws {
        try await withCertificates { certificates async throws in
            try await withIngest(settings: certificates.settings) { ingest async throws in
                #expect(try post(ingest, certificates) == 202)
                #expect(try post(ingest, certificates, "--tls-max 1.2") == 0)
                let clear = try HTTPClient(port: ingest.port)
                try clear.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(throws: (any Error).self) { try clear.response() }
                #expect(try post(ingest, certificates, token: false) == 401)
                #expect(
                    ingest.metrics.render().contains(
                        "qoe_ingest_connections_closed_total{reason=\"tls\"} 2"))
            }
        }
    }

    @Test func `a certificate's names are the clients that it may post for`() async throws {
        try await withCertificates { certificates async throws in
            try certificates.issue("probe", for: ["probe-001", "probe-002"])
            try certificates.issue("wild", for: ["probe-*"])
            try certificates.issue("stranger", for: ["probe-001"], by: LocalAuthority())
            let settings = certificates.settings.merging(
                ["tls-client-ca-file": certificates.path("ca")]) { $1 }
            try await withIngest(settings: settings) { ingest async throws in
                let own = certificates.flags("probe")
                #expect(try post(ingest, certificates, token: false, own) == 202)
                #expect(
                    try post(ingest, certificates, client: "probe-002", token: false, own) == 202)
                #expect(
                    try post(ingest, certificates, client: "probe-003", token: false, own) == 403)
                // A token says more than the certificate.
                #expect(try post(ingest, certificates, client: "probe-003", own) == 202)
                #expect(
                    try post(ingest, certificates, token: false, certificates.flags("wild")) == 401)
                #expect(
                    try post(ingest, certificates, token: false, certificates.flags("stranger"))
                        == 0)
                #expect(try post(ingest, certificates, token: false) == 401)
                #expect(try post(ingest, certificates) == 202)
            }
            let strict = settings.merging(["tls-client-certificates": "required"]) { $1 }
            try await withIngest(settings: strict) { ingest async throws in
                #expect(try post(ingest, certificates) == 0)
                #expect(
                    try post(ingest, certificates, token: false, certificates.flags("probe")) == 202
                )
            }
        }
    }

    @Test func `a new certificate is taken over without a restart, a bad one is not`() async throws
    {
        try await withCertificates { certificates async throws in
            try await withIngest(settings: certificates.settings) { ingest async throws in
                let service = ingest.ingest.fileService()
                let watch = Task { try await service.run() }
                let other = try LocalAuthority()
                try other.writeCertificate(to: certificates.path("other-ca"))
                let trusting = "--cacert '\(certificates.path("other-ca"))'"
                #expect(try post(ingest, certificates, trusting) == 0)
                try certificates.issue("server", for: ["localhost"], by: other)
                try #expect(eventually { try post(ingest, certificates, trusting) == 202 })

                try "nonsense".write(
                    toFile: certificates.path("server"), atomically: false, encoding: .utf8)
                #expect(
                    eventually {
                        ingest.metrics.render().contains(
                            "qoe_ingest_certificate_reload_failures_total 1")
                    })
                #expect(try post(ingest, certificates, trusting) == 202)
                watch.cancel()
                try await watch.value
            }
        }
    }

    @Test func `what is missing or does not fit is named at the start`() throws {
        try withTemporaryFolder { folder throws in
            let certificates = try TestCertificates(folder)
            try certificates.issue("other", for: ["localhost"])
            func problem(_ values: [String: String]) throws -> String {
                let settings = try Settings(IngestConfiguration.settings, values: values)
                return IngestConfiguration.problems(settings).map(\.description)
                    .filter { $0.contains("tls") }.joined(separator: "\n")
            }
            #expect(try problem(certificates.settings).isEmpty)
            #expect(
                try problem(["tls-certificate-file": certificates.path("server")])
                    .contains("tls-key-file"))
            #expect(
                try problem(["tls-client-ca-file": certificates.path("ca")])
                    .contains("tls-certificate-file"))
            var settings = certificates.settings
            settings["tls-key-file"] = certificates.path("other-key")
            #expect(try problem(settings).contains("do not fit each other"))
            settings["tls-key-file"] = certificates.path("nowhere")
            #expect(try problem(settings).contains("there is no such file"))
            settings["tls-key-file"] = certificates.path("ca")
            #expect(try problem(settings).contains("PEM"))
        }
    }
}
