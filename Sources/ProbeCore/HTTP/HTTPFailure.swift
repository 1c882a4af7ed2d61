package import Transport

/// Why an HTTP exchange failed.
package enum HTTPFailure: Error, Sendable {
    /// The network or TLS failed below HTTP.
    case transport(TransportError)
    /// The peer does not speak HTTP/1.1 as it should.
    case violation(HTTPViolation)

    /// One line for a log.
    package var message: String {
        switch self {
        case .transport(let error): error.message
        case .violation(let violation): violation.message
        }
    }

    /// The code for counters and decisions, of a small fixed set.
    package var code: String {
        switch self {
        case .transport(let error): error.code.rawValue
        case .violation(let violation): violation.code.rawValue
        }
    }
}

/// What a peer did that HTTP/1.1 (RFC 9112) does not allow or that is beyond our limits.
package struct HTTPViolation: Error, Sendable, Equatable {
    package enum Code: String, Sendable, CaseIterable {
        /// The answer does not begin with an HTTP/1 status line.
        case notHTTP = "not_http"
        /// The fields before the body, or after it, are larger than ``HTTPResponseReader`` takes.
        case headTooLarge = "head_too_large"
        /// A field, or the body's announced length, is malformed.
        case malformedHead = "malformed_head"
        /// The chunks of the body are malformed.
        case malformedBody = "malformed_body"
        /// The connection ended inside the answer.
        case truncated
        /// The answer is larger than its reader wants to keep.
        case bodyTooLarge = "body_too_large"
        /// The answer is no success.
        case unwantedStatus = "unwanted_status"
    }

    package let code: Code
    package let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}
