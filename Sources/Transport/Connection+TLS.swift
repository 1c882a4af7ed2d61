internal import COpenSSL
internal import Glibc

extension Connection {
    /// Handshakes as a client, checking that the certificate is trusted and for `serverName`.
    ///
    /// A name is sent as SNI (RFC 6066); an IP address is not, and is matched with the certificate's
    /// addresses. ``tlsHandshake`` tells of it afterwards, also when it failed.
    ///
    /// - Parameter applicationProtocol: What to offer by ALPN (RFC 7301), such as `http/1.1`.
    /// - Throws: ``TransportError``: ``TransportError/Code/certificate`` or
    ///   ``TransportError/Code/tls``, or why the stream broke.
    package func startTLS(
        _ context: TLSContext, serverName: String, applicationProtocol: String? = nil,
        _ patience: Patience
    ) throws(TransportError) {
        let session = try unsafe attachSession(context)
        if let applicationProtocol { try unsafe offer(applicationProtocol, session) }
        let isAddress = SocketAddress(literal: serverName, port: 0) != nil
        if isAddress {
            let parameters = unsafe SSL_get0_param(session)
            guard unsafe X509_VERIFY_PARAM_set1_ip_asc(parameters, serverName) == 1 else {
                throw TransportError(.invalidConfiguration, "unusable address \(serverName)")
            }
        } else {
            let named = unsafe serverName.withCString { name in
                unsafe SSL_ctrl(
                    session, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name),
                    UnsafeMutableRawPointer(mutating: name))
            }
            guard named == 1, unsafe SSL_set1_host(session, serverName) == 1 else {
                throw TransportError(.invalidConfiguration, "unusable host name \(serverName)")
            }
        }
        let now = context.nowSeconds()
        unsafe X509_VERIFY_PARAM_set_time(SSL_get0_param(session), time_t(now))
        let watch = HandshakeWatch()
        unsafe watch.attach(to: session)
        defer {
            unsafe watch.detach(from: session)
            tlsHandshake = unsafe watch.handshake(of: session, judgedAtSeconds: now)
        }
        try unsafe handshake("TLS with \(serverName)", patience) { unsafe SSL_connect($0) }
    }

    private func offer(
        _ applicationProtocol: String, _ session: OpaquePointer
    ) throws(TransportError) {
        let name = Array(applicationProtocol.utf8)
        guard let length = UInt8(exactly: name.count), length > 0 else {
            throw TransportError(.invalidConfiguration, "unusable protocol \(applicationProtocol)")
        }
        let list = [length] + name
        // Unlike its siblings this call gives 0 when all is well.
        guard unsafe SSL_set_alpn_protos(session, list, UInt32(list.count)) == 0 else {
            throw TransportError(.system, "SSL_set_alpn_protos: \(openSSLErrorText())")
        }
    }

    /// Handshakes as a server.
    package func acceptTLS(
        _ context: TLSContext, _ patience: Patience
    ) throws(TransportError) {
        _ = try unsafe attachSession(context)
        try unsafe handshake("TLS with \(remoteAddress)", patience) { unsafe SSL_accept($0) }
    }

    /// The negotiated version, such as `TLSv1.3`; nil on a plain connection.
    package var tlsVersion: String? {
        guard let session = unsafe session, let text = unsafe SSL_get_version(session) else {
            return nil
        }
        return unsafe String(cString: text)
    }

    private func attachSession(_ context: TLSContext) throws(TransportError) -> OpaquePointer {
        precondition(unsafe session == nil, "a connection is encrypted once")
        let made = try unsafe context.makeSession()
        unsafe session = made
        guard unsafe SSL_set_fd(made, descriptor) == 1 else {
            throw TransportError(.system, "SSL_set_fd: \(openSSLErrorText())")
        }
        return unsafe made
    }

    private func handshake(
        _ what: String, _ patience: Patience, _ step: (OpaquePointer) -> Int32
    ) throws(TransportError) {
        guard let session = unsafe session else { preconditionFailure("no session attached") }
        while true {
            ERR_clear_error()
            let result = unsafe step(session)
            if result == 1 { return }
            switch unsafe SSL_get_error(session, result) {
            case SSL_ERROR_WANT_READ:
                try waitUntilReady(descriptor, for: POLLIN, patience, during: what)
            case SSL_ERROR_WANT_WRITE:
                try waitUntilReady(descriptor, for: POLLOUT, patience, during: what)
            case let failure:
                let verified = unsafe SSL_get_verify_result(session)
                if Int(verified) != Int(X509_V_OK) {
                    let reason = unsafe X509_verify_cert_error_string(verified)
                    let text = unsafe reason.map { unsafe String(cString: $0) } ?? "unknown"
                    throw TransportError(.certificate, "\(what): certificate refused: \(text)")
                }
                throw failed(failure, what)
            }
        }
    }

    func writeEncrypted(
        _ bytes: Span<UInt8>, _ patience: Patience
    ) throws(TransportError) -> Int {
        guard let session = unsafe session else { preconditionFailure("no session attached") }
        while true {
            ERR_clear_error()
            var written = 0
            let result = unsafe bytes.withUnsafeBufferPointer { pointer in
                unsafe SSL_write_ex(session, pointer.baseAddress, pointer.count, &written)
            }
            if result == 1 { return written }
            try waitOrThrow(
                unsafe SSL_get_error(session, result), "writing to \(remoteAddress)", patience)
        }
    }

    func readEncrypted(
        into buffer: inout [UInt8], _ patience: Patience
    ) throws(TransportError) -> Int {
        guard let session = unsafe session else { preconditionFailure("no session attached") }
        while true {
            ERR_clear_error()
            var received = 0
            let result = unsafe buffer.withUnsafeMutableBytes { pointer in
                unsafe SSL_read_ex(session, pointer.baseAddress, pointer.count, &received)
            }
            if result == 1 { return received }
            let failure = unsafe SSL_get_error(session, result)
            if failure == SSL_ERROR_ZERO_RETURN { return 0 }
            try waitOrThrow(failure, "reading from \(remoteAddress)", patience)
        }
    }

    private func waitOrThrow(
        _ failure: Int32, _ what: String, _ patience: Patience
    ) throws(TransportError) {
        switch failure {
        case SSL_ERROR_WANT_READ:
            try waitUntilReady(descriptor, for: POLLIN, patience, during: what)
        case SSL_ERROR_WANT_WRITE:
            try waitUntilReady(descriptor, for: POLLOUT, patience, during: what)
        default: throw failed(failure, what)
        }
    }

    /// The error for a result of `SSL_get_error` that waiting cannot mend.
    func failed(_ failure: Int32, _ what: String) -> TransportError {
        // Read first: the calls below may change it.
        let systemError = errno
        if failure == SSL_ERROR_SYSCALL {
            return systemError == 0
                ? TransportError(.endedEarly, "\(what): the peer closed the connection")
                : TransportError(errno: systemError, what)
        }
        let code = ERR_peek_error()
        let reason = Int32(truncatingIfNeeded: code & 0x7F_FFFF)
        if reason == SSL_R_UNEXPECTED_EOF_WHILE_READING {
            ERR_clear_error()
            return TransportError(.endedEarly, "\(what): the peer closed without ending TLS")
        }
        return TransportError(.tls, "\(what): \(openSSLErrorText())")
    }
}
