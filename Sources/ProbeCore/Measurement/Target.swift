package import Telemetry

/// Something to measure.
package struct Target: Sendable, Hashable {
    /// How a target is measured, by the scheme of its address.
    package enum Kind: Sendable, Hashable {
        /// One GET over a fresh connection.
        case http(HTTPURL)
    }

    /// The text that was configured: what events carry.
    package let name: Name
    package let kind: Kind

    /// A target from its address.
    ///
    /// - Throws: ``HTTPURL/Refusal`` that says what is wrong with the text.
    package init(_ text: String) throws(HTTPURL.Refusal) {
        let url = try HTTPURL(text)
        guard text.utf8.count <= EventLimits.targetBytesMax else {
            throw HTTPURL.Refusal(
                text, "is longer than the \(EventLimits.targetBytesMax) bytes of a target's name")
        }
        name = Name(text)
        kind = .http(url)
    }
}
