internal import Glibc

/// Why a lookup, a connection or a transfer failed.
package struct TransportError: Error, Sendable, Equatable {
    /// What failed, for decisions and counters.
    package enum Code: String, Sendable, CaseIterable {
        /// The name does not exist or has no address.
        case nameNotFound = "name_not_found"
        /// The resolver could not answer now.
        case nameLookupFailed = "name_lookup_failed"
        /// The deadline passed.
        case timedOut = "timed_out"
        /// The owner asked to stop.
        case interrupted
        /// Nothing listens at the address.
        case refused
        /// No route to the address.
        case unreachable
        /// The peer broke the connection off.
        case reset
        /// The peer ended the stream where more had to come.
        case endedEarly = "ended_early"
        /// The peer's certificate is not trusted, not valid now, or not for this name.
        case certificate
        /// The TLS handshake or the TLS record layer failed.
        case tls
        /// The caller's address, name or file cannot be used.
        case invalidConfiguration = "invalid_configuration"
        /// The system refused for another reason, such as no free descriptors.
        case system
    }

    package let code: Code
    /// One line for a log: what was tried and what the system said.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The error for an `errno` that `call` left behind.
    init(errno number: Int32, _ call: String) {
        let code: Code =
            switch number {
            case ECONNREFUSED: .refused
            case ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT, ENETDOWN, EHOSTDOWN,
                EACCES, EPERM:
                .unreachable
            case ECONNRESET, EPIPE, ECONNABORTED, ENOTCONN: .reset
            case ETIMEDOUT: .timedOut
            default: .system
            }
        self.init(code, "\(call): \(Self.text(ofErrno: number))")
    }

    /// The system's words for an error number.
    package static func text(ofErrno number: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        let size = buffer.count
        guard unsafe strerror_r(number, &buffer, size) == 0 else { return "error \(number)" }
        return String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension TransportError: CustomStringConvertible {
    package var description: String { "\(message) (\(code.rawValue))" }
}
