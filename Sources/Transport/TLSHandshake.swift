internal import COpenSSL
internal import Glibc

/// What a client learned in a TLS handshake; also in one that failed, as far as it came.
package struct TLSHandshake: Sendable, Hashable {
    /// Such as `TLSv1.3`.
    package let version: String
    /// The cipher suite by its name in RFCs; nil before the server chose one.
    package let cipher: String?
    /// The protocol that the server chose of those offered (ALPN, RFC 7301); nil when it chose none.
    package let applicationProtocol: String?
    /// How often the client had to wait for the server's handshake messages before it could go on.
    ///
    /// TLS 1.3 has one, and two when the server asks for another key share (RFC 8446, section 2); TLS 1.2
    /// has two (RFC 5246, section 7.3), as sessions are not resumed.
    package let roundTrips: Int
    /// The server's certificate, trusted or not; nil when it did not come to that.
    package let certificate: PeerCertificate?
    /// The time by which the certificate was judged, Unix seconds.
    package let judgedAtSeconds: Int64

    package init(
        version: String, cipher: String?, applicationProtocol: String?, roundTrips: Int,
        certificate: PeerCertificate?,
        judgedAtSeconds: Int64 = WallClock.nowMilliseconds() / 1000
    ) {
        self.version = version
        self.cipher = cipher
        self.applicationProtocol = applicationProtocol
        self.roundTrips = roundTrips
        self.certificate = certificate
        self.judgedAtSeconds = judgedAtSeconds
    }
}

/// What a server's certificate says of itself.
package struct PeerCertificate: Sendable, Hashable {
    /// The common name of its subject, else the organisation, else the first DNS name; printable.
    package let subject: String
    /// The issuer's common name and organisation; printable.
    package let issuer: String
    /// When it ceases to be valid, Unix seconds.
    package let expiresAtSeconds: Int64
}

/// The longest text that is taken over from a server.
private let textLengthMax = 120

/// Watches a client's handshake by OpenSSL's callbacks.
///
/// Used by the thread of its connection alone: OpenSSL calls back only inside of calls made by it.
final class HandshakeWatch {
    private(set) var roundTrips = 0
    private(set) var certificate: PeerCertificate?
    private var hasSentSinceAnswer = false

    /// A message of the handshake went out or came in.
    func sawMessage(isOutgoing: Bool) {
        if isOutgoing {
            hasSentSinceAnswer = true
        } else if hasSentSinceAnswer {
            hasSentSinceAnswer = false
            roundTrips += 1
        }
    }

    /// Begins to watch; the watch must live as long as `session` or until ``detach(from:)``.
    func attach(to session: OpaquePointer) {
        let this = unsafe Unmanaged.passUnretained(self).toOpaque()
        unsafe SSL_set_ex_data(session, 0, this)
        unsafe SSL_ctrl(session, SSL_CTRL_SET_MSG_CALLBACK_ARG, 0, this)
        unsafe SSL_set_msg_callback(session) { isWrite, _, contentType, _, _, _, argument in
            // Records' heads and alerts are no messages of the handshake.
            guard contentType == SSL3_RT_HANDSHAKE, let argument = unsafe argument else { return }
            unsafe Unmanaged<HandshakeWatch>.fromOpaque(argument).takeUnretainedValue()
                .sawMessage(isOutgoing: isWrite == 1)
        }
        unsafe SSL_set_verify(session, SSL_VERIFY_PEER) { isGood, store in
            // OpenSSL forgets a certificate that it refuses, so it is read here, where it is judged.
            guard
                let session = unsafe X509_STORE_CTX_get_ex_data(
                    store, SSL_get_ex_data_X509_STORE_CTX_idx()),
                let argument = unsafe SSL_get_ex_data(OpaquePointer(session), 0)
            else { return isGood }
            let watch = unsafe Unmanaged<HandshakeWatch>.fromOpaque(argument).takeUnretainedValue()
            if watch.certificate == nil, let leaf = unsafe X509_STORE_CTX_get0_cert(store) {
                watch.certificate = unsafe PeerCertificate(leaf)
            }
            return isGood
        }
    }

    func detach(from session: OpaquePointer) {
        unsafe SSL_set_msg_callback(session, nil)
        unsafe SSL_ctrl(session, SSL_CTRL_SET_MSG_CALLBACK_ARG, 0, nil)
        unsafe SSL_set_ex_data(session, 0, nil)
    }

    /// What is known of `session` now.
    ///
    /// - Parameter judgedAtSeconds: The time by which certificates are judged.
    func handshake(of session: OpaquePointer, judgedAtSeconds: Int64) -> TLSHandshake {
        var pointer: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        unsafe SSL_get0_alpn_selected(session, &pointer, &length)
        var chosen: String?
        if let pointer = unsafe pointer, length > 0 {
            let bytes = unsafe UnsafeBufferPointer(start: pointer, count: Int(length))
            chosen = printable(
                unsafe String(decoding: bytes, as: UTF8.self), lengthMax: textLengthMax)
        }
        let cipher = unsafe SSL_get_current_cipher(session)
        return TLSHandshake(
            version: unsafe SSL_get_version(session).map { unsafe String(cString: $0) }
                ?? "unknown",
            cipher: unsafe SSL_CIPHER_standard_name(cipher).map { unsafe String(cString: $0) },
            applicationProtocol: chosen, roundTrips: roundTrips, certificate: certificate,
            judgedAtSeconds: judgedAtSeconds)
    }
}

extension PeerCertificate {
    /// Reads a certificate; nil when its expiry is no time.
    fileprivate init?(_ certificate: OpaquePointer) {
        var expiry = unsafe tm()
        guard let time = unsafe X509_get0_notAfter(certificate),
            unsafe ASN1_TIME_to_tm(time, &expiry) == 1
        else { return nil }
        expiresAtSeconds = Int64(unsafe timegm(&expiry))
        let subjectName = unsafe X509_get_subject_name(certificate)
        let issuerName = unsafe X509_get_issuer_name(certificate)
        subject =
            unsafe Self.entry(NID_commonName, of: subjectName)
            ?? Self.entry(NID_organizationName, of: subjectName)
            ?? Self.firstHostName(of: certificate) ?? "unnamed"
        let names = [NID_commonName, NID_organizationName].compactMap {
            unsafe Self.entry($0, of: issuerName)
        }
        issuer = names.isEmpty ? "unnamed" : names.joined(separator: ", ")
    }

    private static func entry(_ identifier: Int32, of name: OpaquePointer?) -> String? {
        let index = unsafe X509_NAME_get_index_by_NID(name, identifier, -1)
        guard index >= 0, let entry = unsafe X509_NAME_get_entry(name, index) else { return nil }
        return unsafe text(X509_NAME_ENTRY_get_data(entry))
    }

    private static func firstHostName(of certificate: OpaquePointer) -> String? {
        guard
            let names = unsafe X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil)
        else { return nil }
        let stack = OpaquePointer(names)
        defer { unsafe GENERAL_NAMES_free(stack) }
        for index in 0..<max(0, unsafe OPENSSL_sk_num(stack)) {
            guard let value = unsafe OPENSSL_sk_value(stack, index) else { continue }
            let name = unsafe value.assumingMemoryBound(to: GENERAL_NAME.self)
            guard unsafe name.pointee.type == GEN_DNS else { continue }
            if let found = unsafe text(name.pointee.d.dNSName) { return found }
        }
        return nil
    }

    private static func text(_ value: UnsafePointer<ASN1_STRING>?) -> String? {
        var bytes: UnsafeMutablePointer<UInt8>?
        let length = unsafe ASN1_STRING_to_UTF8(&bytes, value)
        guard length >= 0, let bytes = unsafe bytes else { return nil }
        defer { unsafe CRYPTO_free(bytes, #file, #line) }
        let buffer = unsafe UnsafeBufferPointer(start: bytes, count: Int(length))
        let text = printable(
            unsafe String(decoding: buffer, as: UTF8.self), lengthMax: textLengthMax)
        return text.isEmpty ? nil : text
    }
}
