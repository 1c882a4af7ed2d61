internal import COpenSSL
internal import Glibc

/// Certificates and keys in files.
enum PEMFile {
    /// The first certificate of a file, owned by the caller.
    static func certificate(_ path: String) throws(TransportError) -> OpaquePointer {
        let file = try unsafe open(path)
        defer { unsafe BIO_free(file) }
        guard let certificate = unsafe PEM_read_bio_X509(file, nil, nil, nil) else {
            throw TransportError(
                .invalidConfiguration, "no certificate in \(path): \(openSSLErrorText())")
        }
        return unsafe certificate
    }

    /// The private key of a file, owned by the caller; one with a password is refused.
    static func key(_ path: String) throws(TransportError) -> OpaquePointer {
        let file = try unsafe open(path)
        defer { unsafe BIO_free(file) }
        // Without this, OpenSSL would ask for the password at the terminal.
        let noPassword:
            @convention(c) (
                UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?
            ) -> Int32 = { _, _, _, _ in -1 }
        guard let key = unsafe PEM_read_bio_PrivateKey(file, nil, noPassword, nil) else {
            throw TransportError(
                .invalidConfiguration,
                "no key without a password in \(path): \(openSSLErrorText())")
        }
        return unsafe key
    }

    private static func open(_ path: String) throws(TransportError) -> OpaquePointer {
        ERR_clear_error()
        guard let file = unsafe BIO_new_file(path, "re") else {
            throw TransportError(.invalidConfiguration, "reading \(path): \(openSSLErrorText())")
        }
        return unsafe file
    }

    /// Writes a file by way of a temporary one: it is there whole, with its mode, or as it was.
    static func write(
        to path: String, isSecret: Bool, _ body: (OpaquePointer) -> Int32
    ) throws(TransportError) {
        let temporary = "\(path).new"
        let mode: mode_t = isSecret ? 0o600 : 0o644
        // What a crash left behind may have another mode.
        unsafe unlink(temporary)
        let descriptor = unsafe Glibc.open(
            temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw TransportError(errno: errno, "writing \(path)") }
        do throws(TransportError) {
            // The umask may have taken more than wanted.
            guard fchmod(descriptor, mode) == 0 else {
                throw TransportError(errno: errno, "writing \(path)")
            }
            try unsafe fill(descriptor, path, body)
            guard fsync(descriptor) == 0, unsafe rename(temporary, path) == 0 else {
                throw TransportError(errno: errno, "writing \(path)")
            }
        } catch {
            Glibc.close(descriptor)
            unsafe unlink(temporary)
            throw error
        }
        Glibc.close(descriptor)
    }

    private static func fill(
        _ descriptor: Int32, _ path: String, _ body: (OpaquePointer) -> Int32
    ) throws(TransportError) {
        ERR_clear_error()
        guard let file = unsafe BIO_new_fd(descriptor, BIO_NOCLOSE) else {
            throw TransportError(.system, "BIO_new_fd: \(openSSLErrorText())")
        }
        defer { unsafe BIO_free(file) }
        guard unsafe body(file) == 1 else {
            throw TransportError(.system, "writing \(path): \(openSSLErrorText())")
        }
    }

    /// A certificate's time as Unix seconds.
    static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64? {
        var parts = unsafe tm()
        guard let time = unsafe time, unsafe ASN1_TIME_to_tm(time, &parts) == 1 else { return nil }
        return Int64(unsafe timegm(&parts))
    }
}
