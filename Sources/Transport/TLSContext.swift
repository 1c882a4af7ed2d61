internal import COpenSSL
internal import Glibc

/// The settings and trust that TLS connections of one kind share.
///
/// Sessions are not resumed: every handshake is a full one.
@safe package final class TLSContext: @unchecked Sendable {
    // Unchecked: the `SSL_CTX` is set up here and never changed, and OpenSSL counts its
    // references and locks what connections share (openssl-threads(7)).
    private let pointer: OpaquePointer

    /// A client's context: the system's authorities and those in `authorityFile` are trusted.
    ///
    /// - Throws: ``TransportError`` with ``TransportError/Code/invalidConfiguration`` when the file cannot
    ///   be read or has no certificate.
    package static func client(authorityFile: String? = nil) throws(TransportError) -> TLSContext {
        let context = try unsafe TLSContext(TLS_client_method())
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

    /// A server's context with a certificate chain and its key, both in PEM files.
    ///
    /// - Throws: ``TransportError`` with ``TransportError/Code/invalidConfiguration`` when the files cannot
    ///   be read or do not fit together.
    package static func server(
        certificateFile: String, keyFile: String
    ) throws(TransportError) -> TLSContext {
        let context = try unsafe TLSContext(TLS_server_method())
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

    private init(_ method: OpaquePointer?) throws(TransportError) {
        // The socket BIO writes without MSG_NOSIGNAL, so a peer that went away would kill the process.
        _ = Self.brokenPipesIgnored
        ERR_clear_error()
        guard let pointer = unsafe SSL_CTX_new(method) else {
            throw TransportError(.system, "SSL_CTX_new: \(openSSLErrorText())")
        }
        unsafe self.pointer = pointer
        unsafe SSL_CTX_ctrl(pointer, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(TLS1_2_VERSION), nil)
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
