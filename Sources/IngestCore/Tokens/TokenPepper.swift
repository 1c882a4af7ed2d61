internal import CDigests
internal import Glibc
internal import ServiceKit
internal import SystemPackage

/// The key under which secrets are kept, in a file of its own: whoever gets the tokens file alone cannot
/// even check a guess against it.
struct TokenPepper: Sendable {
    private let key: digests_hmac_key
    /// Tells peppers apart without telling what they are: stands with each token, so that a pepper that
    /// is not the tokens' own is an error and not an endless 401.
    let fingerprint: String

    /// What a new one has, and the least that is accepted.
    static let byteCount = 32
    /// The longest that HMAC uses as it is.
    static let byteCountMax = Int(DIGESTS_HMAC_KEY_BYTES_MAX)

    /// What the fingerprint is made of. Not of the form of a secret, so it tells nothing about any.
    private static let fingerprintText = Array("which pepper".utf8)
    /// 64 bits: enough to tell peppers apart.
    private static let fingerprintDigitCount = 16

    /// Nil when there are too few or too many bytes.
    init?(_ bytes: [UInt8]) {
        guard (Self.byteCount...Self.byteCountMax).contains(bytes.count) else { return nil }
        var key = digests_hmac_key()
        precondition(digests_hmac_prepare(bytes, bytes.count, &key), "libcrypto cannot hash")
        self.key = key
        let digest = Self.fingerprintText.withUnsafeBytes { SecretDigest(of: $0, under: key) }
        fingerprint = String(digest.hexadecimal.prefix(Self.fingerprintDigitCount))
    }

    /// What is kept of a secret. Allocates nothing.
    func digest(of secret: UnsafeRawBufferPointer) -> SecretDigest {
        SecretDigest(of: secret, under: key)
    }

    func digest(of secret: String) -> SecretDigest {
        var secret = secret
        return secret.withUTF8 { digest(of: UnsafeRawBufferPointer($0)) }
    }
}

extension TokenPepper {
    /// Reads a pepper's file.
    ///
    /// - Throws: ``TokenFileError`` with what to do.
    static func read(_ files: TokenFiles) throws(TokenFileError) -> TokenPepper {
        guard access(files.pepper, F_OK) == 0 else {
            throw TokenFileError(
                pepper: files.pepper,
                "is not there, and without it no token can be recognised; bring back the one that"
                    + " the tokens were made with, or name it with --token-pepper-file; when it is"
                    + " lost, remove \(files.tokens) and make all tokens anew with"
                    + " 'qoectl token create', which makes a pepper too")
        }
        let text: String
        do throws(TextFile.ReadError) {
            text = try TextFile.read(files.pepper, limit: fileByteCountMax)
        } catch {
            throw TokenFileError(pepper: files.pepper, error.description)
        }
        let digits = text.split(whereSeparator: \.isWhitespace)
        guard digits.count == 1, let digits = digits.first,
            let bytes = Hexadecimal.bytes(of: digits), let pepper = TokenPepper(bytes)
        else {
            throw TokenFileError(
                pepper: files.pepper,
                "must hold one line of \(2 * byteCount) to \(2 * byteCountMax) lower-case"
                    + " hexadecimal digits; bring back the one that the tokens were made with")
        }
        return pepper
    }

    /// Reads the pepper's file, or makes it when it is not there.
    static func readOrMake(_ files: TokenFiles) throws(TokenFileError) -> TokenPepper {
        if access(files.pepper, F_OK) != 0 { try make(files.pepper) }
        return try read(files)
    }

    /// Makes a file with a new random pepper; keeps the one that somebody else makes meanwhile.
    private static func make(_ path: String) throws(TokenFileError) {
        let line = Hexadecimal.random(byteCount: byteCount) + "\n"
        do {
            try PrivateFile.write(Array(line.utf8), to: path, replaces: false)
        } catch Errno.fileExists {
            return
        } catch {
            throw TokenFileError(pepper: path, "cannot be written: \(error)")
        }
    }

    /// More than the longest pepper and a line's end.
    private static let fileByteCountMax = 1024
}
