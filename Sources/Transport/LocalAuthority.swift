internal import COpenSSL
internal import Glibc

/// A certificate authority for local runs and tests.
///
/// Its key lives in memory alone, so what it signed is all it will ever sign.
@safe package final class LocalAuthority {
    private let certificate: OpaquePointer
    private let key: OpaquePointer
    private var nextSerial = 2

    /// How far in the past certificates begin to be valid: clocks differ.
    private static let validSince = Duration.seconds(3600)

    /// Makes an authority that is valid for a year.
    ///
    /// - Throws: ``TransportError`` with ``TransportError/Code/system`` when OpenSSL cannot.
    package init() throws(TransportError) {
        let key = try unsafe Self.makeKey()
        do throws(TransportError) {
            unsafe certificate = try Self.makeCertificate(
                name: "QoE local authority", serial: 1, validFor: .seconds(365 * 86400),
                publicKey: key,
                extensions: [
                    (NID_basic_constraints, "critical,CA:TRUE"),
                    (NID_key_usage, "critical,keyCertSign,cRLSign"),
                    (NID_subject_key_identifier, "hash"),
                ], issuer: nil, signedWith: key)
            unsafe self.key = key
        } catch {
            unsafe EVP_PKEY_free(key)
            throw error
        }
    }

    deinit {
        unsafe X509_free(certificate)
        unsafe EVP_PKEY_free(key)
    }

    /// Writes the authority's certificate as PEM, for clients to trust.
    package func writeCertificate(to path: String) throws(TransportError) {
        try unsafe Self.write(to: path, isSecret: false) {
            unsafe PEM_write_bio_X509($0, certificate)
        }
    }

    /// Makes a key and a certificate, for a server or a client, and writes both as PEM.
    ///
    /// - Parameters:
    ///   - names: DNS names and IP addresses the certificate is for.
    ///   - validFor: From now; a negative duration makes a certificate that has expired.
    package func issue(
        for names: [String], validFor: Duration = .seconds(90 * 86400), certificateFile: String,
        keyFile: String
    ) throws(TransportError) {
        let serverKey = try unsafe Self.makeKey()
        defer { unsafe EVP_PKEY_free(serverKey) }
        let subjects = names.map { name in
            SocketAddress(literal: name, port: 0) == nil ? "DNS:\(name)" : "IP:\(name)"
        }
        let serial = nextSerial
        nextSerial += 1
        let issued = try unsafe Self.makeCertificate(
            name: names.first ?? "server", serial: serial, validFor: validFor,
            publicKey: serverKey,
            extensions: [
                (NID_basic_constraints, "critical,CA:FALSE"),
                (NID_key_usage, "critical,digitalSignature"),
                (NID_ext_key_usage, "serverAuth,clientAuth"),
                (NID_subject_alt_name, subjects.joined(separator: ",")),
            ], issuer: certificate, signedWith: key)
        defer { unsafe X509_free(issued) }
        try unsafe Self.write(to: certificateFile, isSecret: false) {
            unsafe PEM_write_bio_X509($0, issued)
        }
        try unsafe Self.write(to: keyFile, isSecret: true) {
            unsafe PEM_write_bio_PrivateKey($0, serverKey, nil, nil, 0, nil, nil)
        }
    }

    private static func makeKey() throws(TransportError) -> OpaquePointer {
        ERR_clear_error()
        let context = unsafe EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil)
        defer { unsafe EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard unsafe EVP_PKEY_keygen_init(context) == 1,
            unsafe EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1) == 1,
            unsafe EVP_PKEY_keygen(context, &key) == 1, let key = unsafe key
        else { throw TransportError(.system, "making a key: \(openSSLErrorText())") }
        return unsafe key
    }

    private static func makeCertificate(
        name: String, serial: Int, validFor: Duration, publicKey: OpaquePointer,
        extensions: [(Int32, String)], issuer: OpaquePointer?, signedWith key: OpaquePointer
    ) throws(TransportError) -> OpaquePointer {
        func fail(_ call: String) -> TransportError {
            TransportError(.system, "making a certificate: \(call): \(openSSLErrorText())")
        }
        ERR_clear_error()
        guard let made = unsafe X509_new() else { throw fail("X509_new") }
        var isDone = false
        defer { if !isDone { unsafe X509_free(made) } }

        let until = validFor.components.seconds
        let since = min(-validSince.components.seconds, until - 1)
        let subject = unsafe X509_get_subject_name(made)
        guard unsafe X509_set_version(made, Int(X509_VERSION_3)) == 1,
            unsafe ASN1_INTEGER_set(X509_get_serialNumber(made), serial) == 1,
            unsafe X509_gmtime_adj(X509_getm_notBefore(made), Int(since)) != nil,
            unsafe X509_gmtime_adj(X509_getm_notAfter(made), Int(until)) != nil,
            unsafe X509_set_pubkey(made, publicKey) == 1,
            unsafe X509_NAME_add_entry_by_txt(
                subject, "CN", MBSTRING_UTF8, name, -1, -1, 0) == 1,
            unsafe X509_set_issuer_name(made, X509_get_subject_name(issuer ?? made)) == 1
        else { throw fail("fields") }

        var context = unsafe X509V3_CTX()
        unsafe X509V3_set_ctx(&context, issuer ?? made, made, nil, nil, 0)
        for (identifier, value) in extensions {
            guard let entry = unsafe X509V3_EXT_conf_nid(nil, &context, identifier, value) else {
                throw fail("extension \(value)")
            }
            defer { unsafe X509_EXTENSION_free(entry) }
            guard unsafe X509_add_ext(made, entry, -1) == 1 else { throw fail("X509_add_ext") }
        }
        guard unsafe X509_sign(made, key, EVP_sha256()) > 0 else { throw fail("X509_sign") }
        isDone = true
        return unsafe made
    }

    private static func write(
        to path: String, isSecret: Bool, _ body: (OpaquePointer) -> Int32
    ) throws(TransportError) {
        let descriptor = unsafe open(
            path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, isSecret ? 0o600 : 0o644)
        guard descriptor >= 0 else { throw TransportError(errno: errno, "writing \(path)") }
        // The BIO closes the descriptor.
        guard let file = unsafe BIO_new_fd(descriptor, BIO_CLOSE) else {
            Glibc.close(descriptor)
            throw TransportError(.system, "BIO_new_fd: \(openSSLErrorText())")
        }
        defer { unsafe BIO_free(file) }
        guard unsafe body(file) == 1 else {
            throw TransportError(.system, "writing \(path): \(openSSLErrorText())")
        }
    }
}
