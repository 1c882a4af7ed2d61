internal import COpenSSL
internal import Glibc

/// A certificate from a file.
@safe package final class StoredCertificate {
    let pointer: OpaquePointer
    /// The DNS names and IP addresses that it is for (subjectAltName); others are left out.
    package let names: [String]
    /// When it ceases to be valid, Unix seconds.
    package let expiresAtSeconds: Int64

    /// Reads the first certificate of a PEM file.
    ///
    /// - Throws: ``TransportError`` with ``TransportError/Code/invalidConfiguration`` when there is none.
    package init(file: String) throws(TransportError) {
        let pointer = try unsafe PEMFile.certificate(file)
        guard let end = unsafe PEMFile.seconds(X509_get0_notAfter(pointer)) else {
            unsafe X509_free(pointer)
            throw TransportError(.invalidConfiguration, "\(file) gives no time of its end")
        }
        unsafe self.pointer = pointer
        expiresAtSeconds = end
        names = unsafe Self.names(of: pointer)
    }

    deinit {
        unsafe X509_free(pointer)
    }

    /// Whether the file holds its private key; false as well when it cannot be read.
    package func fits(keyFile: String) -> Bool {
        guard let key = try? unsafe PEMFile.key(keyFile) else { return false }
        defer { unsafe EVP_PKEY_free(key) }
        ERR_clear_error()
        return unsafe X509_check_private_key(pointer, key) == 1
    }

    private static func names(of certificate: OpaquePointer) -> [String] {
        guard
            let names = unsafe X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil)
        else { return [] }
        let stack = OpaquePointer(names)
        defer { unsafe GENERAL_NAMES_free(stack) }
        return (0..<max(0, unsafe OPENSSL_sk_num(stack))).compactMap { index in
            guard let value = unsafe OPENSSL_sk_value(stack, index) else { return nil }
            let name = unsafe value.assumingMemoryBound(to: GENERAL_NAME.self)
            switch unsafe name.pointee.type {
            case GEN_DNS: return unsafe text(bytes(name.pointee.d.dNSName))
            case GEN_IPADD: return unsafe address(bytes(name.pointee.d.iPAddress))
            default: return nil
            }
        }
    }

    private static func bytes(_ value: UnsafeMutablePointer<ASN1_STRING>?) -> [UInt8] {
        guard let data = unsafe ASN1_STRING_get0_data(value) else { return [] }
        let count = max(0, Int(unsafe ASN1_STRING_length(value)))
        return unsafe Array(UnsafeBufferPointer(start: data, count: count))
    }

    private static func text(_ bytes: [UInt8]) -> String? {
        String(validating: bytes, as: UTF8.self)
    }

    private static func address(_ bytes: [UInt8]) -> String? {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let size = socklen_t(buffer.count)
        let family = bytes.count == 4 ? AF_INET : AF_INET6
        guard unsafe inet_ntop(family, bytes, &buffer, size) != nil else { return nil }
        return String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
