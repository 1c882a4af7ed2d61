import Transport

/// Certificates of one test, in a folder of its own.
struct TestCertificates {
    let folder: String
    let authority: LocalAuthority

    init(_ folder: String) throws {
        self.folder = folder
        authority = try LocalAuthority()
        try authority.writeCertificate(to: path("ca"))
        try issue("server", for: ["localhost", "127.0.0.1"])
    }

    func path(_ name: String) -> String { "\(folder)/\(name).pem" }

    func issue(_ name: String, for names: [String], by other: LocalAuthority? = nil) throws {
        try (other ?? authority).issue(
            for: names, certificateFile: path(name), keyFile: path("\(name)-key"))
    }

    /// Of an ingest that shows the server's certificate.
    var settings: [String: String] {
        ["tls-certificate-file": path("server"), "tls-key-file": path("server-key")]
    }

    /// What curl needs to show a client's certificate.
    func flags(_ name: String) -> String {
        "--cert '\(path(name))' --key '\(path("\(name)-key"))'"
    }

    /// Of clients that trust the authority.
    func clientContext() throws -> TLSContext { try TLSContext.client(authorityFile: path("ca")) }
}
