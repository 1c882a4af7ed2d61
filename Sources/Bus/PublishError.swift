/// Why something was not durably published, or not known to be.
///
/// After `timeout` and `unavailable` the message may be stored nevertheless: the sender repeats it
/// with the same event identifiers and the duplicates are found later.
package struct PublishError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// More is waiting than the publisher's bound allows.
        case overloaded
        /// There is no connection to NATS.
        case unavailable
        /// JetStream did not acknowledge in time.
        case timeout
        /// JetStream refused: the stream is full, missing, or its storage fails.
        case refused
        /// The message does not fit into a block or into what the server takes.
        case tooLarge
        /// The publisher has been stopped.
        case stopped
    }

    package let code: Code
    package let text: String

    package init(_ code: Code, _ text: String) {
        self.code = code
        self.text = text
    }

    /// Whether sending the same again later may succeed.
    package var isRetriable: Bool { code != .tooLarge }

    package var description: String { "\(code.rawValue): \(text)" }
}
