/// Why an event, or a whole body, is refused.
package struct EventRejection: Error, Hashable, Sendable {
    package let code: RejectionCode
    /// The member at fault with its parent's name, as in `timing_measurements.dns_ms`; nil when no
    /// member is.
    package let field: String?
    /// A sentence for people that names the field and what it must be. It holds nothing that was posted.
    package let message: String

    package init(_ code: RejectionCode, field: String? = nil, _ message: String) {
        self.code = code
        self.field = field
        self.message = message
    }
}

extension EventRejection: CustomStringConvertible {
    package var description: String { "\(code.rawValue): \(message)" }
}
