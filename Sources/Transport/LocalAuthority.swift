internal import COpenSSL
internal import Glibc

/// A certificate authority of our own: for local runs and tests in memory, for an installation in two files.
@safe package final class LocalAuthority {
    private let certificate: OpaquePointer
    private let key: OpaquePointer

    /// How far in the past certificates begin to be valid: clocks differ.
    private static let validSince = Duration.seconds(3600)
    /// Serial numbers are this random, so that no two meet (RFC 5280, section 4.1.2.2: at most 20 octets).
    private static let serialBits: Int32 = 159
    /// The longest common name (RFC 5280, appendix A: ub-common-name).
    private static let commonNameMax = 64

    /// Makes an authority with a key on P-256.
    ///
    /// - Parameters:
    ///   - name: For people, at most 64 characters.
    ///   - validFor: From now.
    /// - Throws: ``TransportError`` with ``TransportError/Code/system`` when OpenSSL cannot.
    package init(
        name: String = "QoE local authority", validFor: Duration = .seconds(365 * 86400)
    ) throws(TransportError) {
        let key = try unsafe Self.makeKey()
        do throws(TransportError) {
            unsafe certificate = try Self.makeCertificate(
                name: name, validFor: validFor, publicKey: key,
                extensions: [
                    (NID_basic_constraints, "critical,CA:TRUE,pathlen:0"),
                    (NID_key_usage, "critical,keyCertSign,cRLSign"),
                    (NID_subject_key_identifier, "hash"),
                ], issuer: nil, signedWith: key)
            unsafe self.key = key
        } catch {
            unsafe EVP_PKEY_free(key)
            throw error
        }
    }

    /// The authority whose certificate and key were written before.
    ///
    /// - Throws: ``TransportError``, with ``TransportError/Code/invalidConfiguration`` when the files cannot be read,
    ///   the key has a password, or they do not belong together.
    package init(certificateFile: String, keyFile: String) throws(TransportError) {
        let certificate = try unsafe PEMFile.certificate(certificateFile)
        do throws(TransportError) {
            let key = try unsafe PEMFile.key(keyFile)
            guard unsafe X509_check_private_key(certificate, key) == 1 else {
                unsafe EVP_PKEY_free(key)
                throw TransportError(
                    .invalidConfiguration, "\(keyFile) is not the key of \(certificateFile)")
            }
            unsafe self.key = key
        } catch {
            unsafe X509_free(certificate)
            throw error
        }
        unsafe self.certificate = certificate
    }

    deinit {
        unsafe X509_free(certificate)
        unsafe EVP_PKEY_free(key)
    }

    /// Writes the authority's certificate as PEM, for clients to trust.
    package func writeCertificate(to path: String) throws(TransportError) {
        try unsafe PEMFile.write(to: path, isSecret: false) {
            unsafe PEM_write_bio_X509($0, certificate)
        }
    }

    /// Writes the authority's key as PEM, readable for its owner alone.
    package func writeKey(to path: String) throws(TransportError) {
        try unsafe PEMFile.write(to: path, isSecret: true) {
            unsafe PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil)
        }
    }

    /// Whether it signed `stored`.
    package func signed(_ stored: StoredCertificate) -> Bool {
        ERR_clear_error()
        return unsafe X509_verify(stored.pointer, key) == 1
    }

    /// When it ceases to be valid, Unix seconds; nil when its certificate gives no time.
    package var expiresAtSeconds: Int64? {
        unsafe PEMFile.seconds(X509_get0_notAfter(certificate))
    }

    /// Makes a key and a certificate, for a server or a client, and writes both as PEM.
    ///
    /// Each file is there whole or as it was before; the key comes first.
    ///
    /// - Parameters:
    ///   - names: DNS names and IP addresses the certificate is for. The first one is also its common name.
    ///   - validFor: From now, at most as long as the authority; a negative duration makes a certificate
    ///     that has expired.
    /// - Throws: ``TransportError``, with ``TransportError/Code/invalidConfiguration`` for what is no name.
    package func issue(
        for names: [String], validFor: Duration = .seconds(90 * 86400), certificateFile: String,
        keyFile: String
    ) throws(TransportError) {
        let subjects = try names.map { (name) throws(TransportError) -> String in
            if SocketAddress(literal: name, port: 0) != nil { return "IP:\(name)" }
            // A comma would begin another name.
            guard !name.isEmpty, name.utf8.allSatisfy(Self.isNameByte) else {
                throw TransportError(
                    .invalidConfiguration, "no certificate can be made for the name '\(name)'")
            }
            return "DNS:\(name)"
        }
        let ownKey = try unsafe Self.makeKey()
        defer { unsafe EVP_PKEY_free(ownKey) }
        let commonName = names.first.flatMap { $0.utf8.count > Self.commonNameMax ? nil : $0 }
        let issued = try unsafe Self.makeCertificate(
            name: commonName ?? "server", validFor: validFor, publicKey: ownKey,
            extensions: [
                (NID_basic_constraints, "critical,CA:FALSE"),
                (NID_key_usage, "critical,digitalSignature"),
                (NID_ext_key_usage, "serverAuth,clientAuth"),
                (NID_subject_key_identifier, "hash"),
                (NID_authority_key_identifier, "keyid:always"),
                (NID_subject_alt_name, subjects.joined(separator: ",")),
            ], issuer: certificate, signedWith: key)
        defer { unsafe X509_free(issued) }
        try unsafe PEMFile.write(to: keyFile, isSecret: true) {
            unsafe PEM_write_bio_PrivateKey($0, ownKey, nil, nil, 0, nil, nil)
        }
        try unsafe PEMFile.write(to: certificateFile, isSecret: false) {
            unsafe PEM_write_bio_X509($0, issued)
        }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"),
            UInt8(ascii: "."), UInt8(ascii: "*"):
            true
        default: false
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
        name: String, validFor: Duration, publicKey: OpaquePointer,
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
            unsafe setRandomSerial(made),
            unsafe X509_gmtime_adj(X509_getm_notBefore(made), Int(since)) != nil,
            unsafe X509_gmtime_adj(X509_getm_notAfter(made), Int(until)) != nil,
            unsafe endNoLater(made, than: issuer),
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

    private static func setRandomSerial(_ certificate: OpaquePointer) -> Bool {
        let number = unsafe BN_new()
        defer { unsafe BN_free(number) }
        // -1 and 0: any bits at the top and at the bottom.
        return unsafe BN_rand(number, serialBits, -1, 0) == 1
            && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nil
    }

    /// A certificate is worth nothing after its issuer's end, so it says so.
    private static func endNoLater(
        _ certificate: OpaquePointer, than issuer: OpaquePointer?
    ) -> Bool {
        guard let issuer = unsafe issuer else { return true }
        let (own, bound) = unsafe (X509_get0_notAfter(certificate), X509_get0_notAfter(issuer))
        guard unsafe ASN1_TIME_compare(own, bound) > 0 else { return true }
        return unsafe X509_set1_notAfter(certificate, bound) == 1
    }
}
