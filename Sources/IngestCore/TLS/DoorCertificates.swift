internal import NIOCore
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

    var paths: [String] { [certificateFile, keyFile] + (clientCAFile.map { [$0] } ?? []) }
}

/// What new connections are secured with; replaced as a whole when the files are read again.
final class DoorCertificates: Sendable {
    private struct Current {
        var context: NIOSSLContext
        var settings: DoorTLSSettings
        var version: FilesVersion
    }

    private let current: Mutex<Current>

    /// Why the certificates cannot be used; names the file and what to do.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    init(_ settings: DoorTLSSettings) throws(Failure) {
        current = Mutex(try Self.load(settings))
    }

    /// For a connection that begins now.
    func serverHandler() -> NIOSSLServerHandler {
        NIOSSLServerHandler(context: current.withLock { $0.context })
    }

    /// Reads the files again, from now on these; when they are bad, the old certificates stay.
    func reload(_ settings: DoorTLSSettings) throws(Failure) {
        let new = try Self.load(settings)
        current.withLock { $0 = new }
    }

    private static func load(_ settings: DoorTLSSettings) throws(Failure) -> Current {
        // Taken first: what changes while it is read is read again.
        let version = FilesVersion(of: settings.paths)
        return Current(context: try context(settings), settings: settings, version: version)
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
        configuration.shutdownTimeout = closingLimit
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

    /// How long a client may take to agree that TLS ends; then its connection is closed all the same.
    private static let closingLimit = TimeAmount.seconds(1)
    /// Largest file of certificates, bytes.
    private static let fileBytesMax = 16 << 20
}

extension DoorCertificates: WatchedFiles {
    var seen: (paths: [String], version: FilesVersion) {
        current.withLock { ($0.settings.paths, $0.version) }
    }

    func readAgain() throws(Failure) {
        try reload(current.withLock { $0.settings })
    }
}
