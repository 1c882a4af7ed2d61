package import Transport

/// An address to get, and what its answer must be to count as good.
package struct HTTPTarget: Sendable, Hashable {
    package let url: HTTPURL
    /// Only addresses of this family are tried; nil for both.
    package let family: AddressFamily?
    package let expectation: HTTPExpectation

    init(_ text: inout TargetText) throws(TargetRefusal) {
        url = try HTTPURL(text.address)
        family = try text.takeFamily()
        expectation = try HTTPExpectation(&text)
    }

    /// A target without expectations of its own.
    package init(_ url: HTTPURL) {
        self.url = url
        family = nil
        expectation = HTTPExpectation()
    }
}

/// What an HTTP answer must be to count as good.
package struct HTTPExpectation: Sendable, Hashable {
    /// A header field that must be there, with this value if one is given.
    package struct Field: Sendable, Hashable {
        /// In lower case, as names of fields are case-insensitive (RFC 9110, section 5.1).
        package let name: String
        package let value: String?
    }

    /// The good statuses; nil for all below 400.
    package var statuses: [ClosedRange<Int>]?
    /// A text that the body must hold.
    package var bodyText: String?
    /// A text that the body must not hold.
    package var bodyForbidden: String?
    package var field: Field?
    /// The least time that the server's certificate must still be valid.
    package var certificateValidity: Duration?

    package init() {}

    init(_ text: inout TargetText) throws(TargetRefusal) {
        if let list = text.take("expect-status") {
            var ranges: [ClosedRange<Int>] = []
            for item in list.split(separator: ",", omittingEmptySubsequences: false) {
                let ends = item.split(separator: "-", omittingEmptySubsequences: false)
                let numbers = ends.compactMap { Int($0) }
                guard numbers.count == ends.count, let low = numbers.first, let high = numbers.last,
                    numbers.count <= 2, 100 <= low, low <= high, high <= 599
                else {
                    throw text.refusal(
                        "expect-status", "a status or range, such as 200 or 200-299%2C404")
                }
                ranges.append(low...high)
            }
            statuses = ranges
        }
        bodyText = try text.takeText("expect-body")
        bodyForbidden = try text.takeText("forbid-body")
        if let line = text.take("expect-header") {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = parts.first, !name.isEmpty,
                name.utf8.allSatisfy({ HTTPResponseReader.isNameByte($0) })
            else { throw text.refusal("expect-header", "Name or Name:value") }
            let value = parts.dropFirst().first.map {
                String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
            }
            field = Field(name: name.lowercased(), value: value)
        }
        certificateValidity = try text.takeDuration(
            "expect-certificate", in: .seconds(0)...(.seconds(3650 * 86_400)))
        if certificateValidity != nil, !text.scheme.hasSuffix("https") {
            throw text.refusal("expect-certificate", "for this scheme: only https has certificates")
        }
    }
}

extension HTTPExpectation {
    /// Whether `status` is a good one.
    package func accepts(status: Int) -> Bool {
        guard let statuses else { return status < 400 }
        return statuses.contains { $0.contains(status) }
    }
}

extension TargetText {
    /// A text of at least one byte.
    fileprivate mutating func takeText(_ name: String) throws(TargetRefusal) -> String? {
        guard let text = take(name) else { return nil }
        guard !text.isEmpty else { throw refusal(name, "a text: it is empty") }
        return text
    }

    /// The option `family`: `ipv4` or `ipv6`.
    mutating func takeFamily() throws(TargetRefusal) -> AddressFamily? {
        try takeChoice("family", of: AddressFamily.self)
    }
}
