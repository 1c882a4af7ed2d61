internal import COpenSSL
internal import Glibc

/// The settings and trust that TLS connections of one kind share.
///
/// Sessions are not resumed: every handshake is a full one.
@safe package final class TLSContext: @unchecked Sendable {
    // Unchecked: the `SSL_CTX` is set up here and never changed, and OpenSSL counts its
    // references and locks what connections share (openssl-threads(7)).
    private let pointer: OpaquePointer
    /// The time by which certificates are judged, Unix seconds.
    let nowSeconds: @Sendable () -> Int64

    /// A client's context: the system's authorities and those in `authorityFile` are trusted.
    ///
    /// - Parameter nowSeconds: The time by which certificates are judged, Unix seconds: of a machine whose wall
    ///   clock is wrong a better one than that.
    /// - Throws: ``TransportError`` with ``TransportError/Code/invalidConfiguration`` when the file cannot
    ///   be read or has no certificate.
    package static func client(
        authorityFile: String? = nil,
        nowSeconds: @escaping @Sendable () -> Int64 = { WallClock.nowMilliseconds() / 1000 }
    ) throws(TransportError) -> TLSContext {
        let context = try unsafe TLSContext(TLS_client_method(), nowSeconds: nowSeconds)
        unsafe SSL_CTX_set_verify(context.pointer, SSL_VERIFY_PEER, nil)
        // A system without certificates is no error here: connections will say what they miss.
        unsafe SSL_CTX_set_default_verify_paths(context.pointer)
        if let authorityFile {
            guard unsafe SSL_CTX_load_verify_file(context.pointer, authorityFile) == 1 else {
                throw TransportError(
                    .invalidConfiguration,
                    "no certificates in the authority file \(authorityFile): "
                        + openSSLErrorText())
            }
        }
        return context
    }

    /// The newest version that a server speaks.
    package enum Version: Sendable {
        case tls12
        case tls13
    }

    /// A server's context with a certificate chain and its key, both in PEM files.
    ///
    /// - Parameters:
    ///   - versionMax: Together with TLS 1.2, the oldest, this bounds the version.
    ///   - groups: The key exchanges taken, in OpenSSL's notation; nil for its own choice.
    ///   - applicationProtocol: What is chosen of a client's ALPN offers if it is among them.
    /// - Throws: ``TransportError`` with ``TransportError/Code/invalidConfiguration`` when the files cannot
    ///   be read or do not fit together.
    package static func server(
        certificateFile: String, keyFile: String, versionMax: Version = .tls13,
        groups: String? = nil, applicationProtocol: ApplicationProtocol? = nil
    ) throws(TransportError) -> TLSContext {
        let context = try unsafe TLSContext(TLS_server_method())
        if versionMax == .tls12 {
            unsafe SSL_CTX_ctrl(
                context.pointer, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(TLS1_2_VERSION), nil)
        }
        if let groups {
            let isSet = unsafe groups.withCString { names in
                unsafe SSL_CTX_ctrl(
                    context.pointer, SSL_CTRL_SET_GROUPS_LIST, 0,
                    UnsafeMutableRawPointer(mutating: names))
            }
            guard isSet == 1 else {
                throw TransportError(.invalidConfiguration, "unknown groups \(groups)")
            }
        }
        if applicationProtocol == .http1 { context.chooseHTTP1() }
        guard unsafe SSL_CTX_use_certificate_chain_file(context.pointer, certificateFile) == 1
        else {
            throw TransportError(
                .invalidConfiguration,
                "no certificate in \(certificateFile): \(openSSLErrorText())")
        }
        guard
            unsafe SSL_CTX_use_PrivateKey_file(context.pointer, keyFile, SSL_FILETYPE_PEM) == 1
        else {
            throw TransportError(
                .invalidConfiguration,
                "no key for the certificate in \(keyFile): \(openSSLErrorText())")
        }
        return context
    }

    /// A protocol above TLS, as ALPN names it (RFC 7301).
    package enum ApplicationProtocol: String, Sendable {
        case http1 = "http/1.1"
    }

    private func chooseHTTP1() {
        unsafe SSL_CTX_set_alpn_select_cb(
            pointer,
            { _, chosen, chosenLength, offered, offeredLength, _ in
                guard let offered = unsafe offered else { return SSL_TLSEXT_ERR_NOACK }
                let wanted = ApplicationProtocol.http1.rawValue.utf8
                let list = unsafe UnsafeBufferPointer(start: offered, count: Int(offeredLength))
                var index = 0
                while index < list.count {
                    let length = unsafe Int(list[index])
                    let begin = index + 1
                    guard begin + length <= list.count else { break }
                    if unsafe list[begin..<begin + length].elementsEqual(wanted) {
                        unsafe chosen?.pointee = offered + begin
                        unsafe chosenLength?.pointee = UInt8(truncatingIfNeeded: length)
                        return SSL_TLSEXT_ERR_OK
                    }
                    index = begin + length
                }
                return SSL_TLSEXT_ERR_NOACK
            }, nil)
    }

    private init(
        _ method: OpaquePointer?,
        nowSeconds: @escaping @Sendable () -> Int64 = { WallClock.nowMilliseconds() / 1000 }
    ) throws(TransportError) {
        self.nowSeconds = nowSeconds
        // The socket BIO writes without MSG_NOSIGNAL, so a peer that went away would kill the process.
        _ = Self.brokenPipesIgnored
        ERR_clear_error()
        guard let pointer = unsafe SSL_CTX_new(method) else {
            throw TransportError(.system, "SSL_CTX_new: \(openSSLErrorText())")
        }
        unsafe self.pointer = pointer
        unsafe SSL_CTX_ctrl(pointer, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(TLS1_2_VERSION), nil)
        // What is left of a write need not lie at the same place when it goes on.
        unsafe SSL_CTX_ctrl(
            pointer, SSL_CTRL_MODE,
            Int(SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER), nil)
        unsafe SSL_CTX_ctrl(pointer, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
    }

    deinit {
        unsafe SSL_CTX_free(pointer)
    }

    /// A new connection's state, owned by the caller.
    func makeSession() throws(TransportError) -> OpaquePointer {
        ERR_clear_error()
        guard let session = unsafe SSL_new(pointer) else {
            throw TransportError(.system, "SSL_new: \(openSSLErrorText())")
        }
        return unsafe session
    }

    private static let brokenPipesIgnored: Bool = {
        signal(SIGPIPE, SIG_IGN)
        return true
    }()
}

/// The first error in the thread's queue of OpenSSL, which is emptied.
func openSSLErrorText() -> String {
    let code = ERR_get_error()
    ERR_clear_error()
    guard code != 0 else { return "no reason given" }
    // A system call's errno, such as a missing file's, is marked by this bit (ERR_SYSTEM_ERROR).
    let systemFlag: UInt = 1 << 31
    if code & systemFlag != 0, let number = Int32(exactly: code & (systemFlag - 1)) {
        return TransportError.text(ofErrno: number)
    }
    if let reason = unsafe ERR_reason_error_string(code) { return unsafe String(cString: reason) }
    return "OpenSSL error \(code)"
}
