package import Transport

/// An address to load from, or to load up to: `download+https://…`, `upload+https://…`.
package struct TransferTarget: Sendable, Hashable {
    package enum Direction: String, Sendable, CaseIterable {
        case download
        case upload
    }

    package let direction: Direction
    package let url: HTTPURL
    /// Only addresses of this family are tried; nil for both.
    package let family: AddressFamily?
    package let budget: TransferBudget

    init(_ text: inout TargetText) throws(TargetRefusal) {
        direction = text.scheme.hasPrefix("upload") ? .upload : .download
        url = try text.urlBehindPlus()
        family = try text.takeFamily()
        budget = try TransferBudget(&text)
    }
}

/// Where a transfer ends, whichever comes first.
package struct TransferBudget: Sendable, Hashable {
    package var duration = Duration.seconds(5)
    /// Bytes of bodies over all connections.
    package var bytesMax = 64 << 20
    /// Connections at once: one alone seldom fills a path (draft-ietf-ippm-responsiveness, section 4).
    package var connections = 4

    package init() {}

    init(_ text: inout TargetText) throws(TargetRefusal) {
        try self.init(&text, unlessGiven: TransferBudget())
    }

    /// - Parameter usual: Holds for what the text does not give.
    init(
        _ text: inout TargetText, unlessGiven usual: TransferBudget
    ) throws(TargetRefusal) {
        self = usual
        duration =
            try text.takeDuration("max-time", in: .milliseconds(100)...(.seconds(60))) ?? duration
        bytesMax =
            try text.takeByteCount("max-bytes", in: (64 << 10)...(16 << 30)) ?? bytesMax
        connections = try text.takeInteger("connections", in: 1...32) ?? connections
    }
}

/// Round trips while a transfer runs: `loaded+https://…`.
package struct LoadedTarget: Sendable, Hashable {
    package let direction: TransferTarget.Direction
    /// What loads the path.
    package let url: HTTPURL
    /// Only addresses of this family are tried; nil for both.
    package let family: AddressFamily?
    /// The path of something small on the same server, whose round trips are measured; nil for the root.
    package let smallPath: String?
    package let budget: TransferBudget

    /// Bytes enough for as long as round trips are measured, and connections enough to keep a deep queue
    /// full: four were seen to leave half of one of 200 ms empty.
    private static let usualBudget: TransferBudget = {
        var budget = TransferBudget()
        budget.bytesMax = 1 << 30
        budget.connections = 12
        return budget
    }()

    init(_ text: inout TargetText) throws(TargetRefusal) {
        url = try text.urlBehindPlus()
        family = try text.takeFamily()
        direction =
            try text.takeChoice("direction", of: TransferTarget.Direction.self) ?? .download
        smallPath = text.take("small")
        if let smallPath,
            !smallPath.hasPrefix("/") || !smallPath.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        {
            throw text.refusal("small", "a path that begins with /")
        }
        budget = try TransferBudget(&text, unlessGiven: Self.usualBudget)
    }
}

extension TargetText {
    /// The URL in an address such as `download+https://…`.
    func urlBehindPlus() throws(TargetRefusal) -> HTTPURL {
        try HTTPURL(
            String(address[(address.firstIndex(of: "+") ?? address.startIndex)...].dropFirst()))
    }
}
