internal import NIOSSL
internal import ServiceKit
internal import Synchronization

/// Where the certificates of the API are, and whether clients must show theirs.
struct DoorTLSSettings: Hashable, Sendable {
    /// PEM, with the intermediate certificates behind it.
    var certificateFile: String
    /// PEM.
    var keyFile: String
    /// PEM of the CAs whose clients are let in; nil asks no client for a certificate.
    var clientCAFile: String?
    /// Whether a client without a certificate is turned away in the handshake.
    var requiresClientCertificate: Bool
}

/// What new connections are secured with; replaced as a whole when the files are read again.
final class DoorCertificates: Sendable {
    private let context: Mutex<NIOSSLContext>
    private let settings: Mutex<DoorTLSSettings>

    /// Why the certificates cannot be used; names the file and what to do.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    init(_ settings: DoorTLSSettings) throws(Failure) {
        context = Mutex(try Self.context(settings))
        self.settings = Mutex(settings)
    }

    /// For a connection that begins now.
    func serverHandler() -> NIOSSLServerHandler {
        NIOSSLServerHandler(context: context.withLock { $0 })
    }

    var files: [String] {
        settings.withLock { settings in
            [settings.certificateFile, settings.keyFile]
                + (settings.clientCAFile.map { [$0] } ?? [])
        }
    }

    /// Reads the files again, from now on these; when they are bad, the old certificates stay.
    func reload(_ new: DoorTLSSettings? = nil) throws(Failure) {
        let wanted = new ?? settings.withLock { $0 }
        let made = try Self.context(wanted)
        context.withLock { $0 = made }
        settings.withLock { $0 = wanted }
    }

    /// TLS 1.3 (RFC 8446) and nothing older.
    static func context(_ settings: DoorTLSSettings) throws(Failure) -> NIOSSLContext {
        let chain = try read(settings.certificateFile, "tls-certificate-file") {
            try NIOSSLCertificate.fromPEMFile($0)
        }
        guard !chain.isEmpty else {
            throw Failure(
                description:
                    "tls-certificate-file: \(settings.certificateFile) holds no certificate")
        }
        let key = try read(settings.keyFile, "tls-key-file") {
            try NIOSSLPrivateKey(file: $0, format: .pem)
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.minimumTLSVersion = .tlsv13
        configuration.applicationProtocols = ["http/1.1"]
        if let path = settings.clientCAFile {
            let authorities = try read(path, "tls-client-ca-file") {
                try NIOSSLCertificate.fromPEMFile($0)
            }
            guard !authorities.isEmpty else {
                throw Failure(description: "tls-client-ca-file: \(path) holds no certificate")
            }
            configuration.trustRoots = .certificates(authorities)
            configuration.certificateVerification =
                settings.requiresClientCertificate
                ? .noHostnameVerification : .optionalVerification
        }
        do {
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw Failure(
                description: "the certificate \(settings.certificateFile) and the key "
                    + "\(settings.keyFile) do not fit each other or cannot be used: \(error)")
        }
    }

    private static func read<Value>(
        _ path: String, _ setting: String, _ body: (String) throws -> Value
    ) throws(Failure) -> Value {
        do throws(TextFile.ReadError) {
            _ = try TextFile.read(path, limit: fileBytesMax)
        } catch {
            throw Failure(description: "\(setting): \(path) \(error.description)")
        }
        do {
            return try body(path)
        } catch {
            throw Failure(
                description: "\(setting): \(path) is not what is wanted, in PEM: \(error)")
        }
    }

    /// Largest file of certificates, bytes.
    private static let fileBytesMax = 16 << 20
}
