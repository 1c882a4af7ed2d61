internal import EventParsing

/// The clients that a token may speak for.
package struct ClientScope: Hashable, Sendable {
    /// Names; one that ends in `*` stands for all that begin with what is before it.
    package let patterns: [String]

    private let isEverything: Bool
    private let exact: [[UInt8]]
    private let prefixes: [[UInt8]]

    /// Most patterns of one token: each event is compared with them.
    package static let patternsMax = 1000

    /// Holds no client.
    static let nobody = ClientScope()

    /// Longest pattern, bytes: no client has a longer name, and normal forms of long texts take long.
    private static let patternBytesMax = 1024

    /// Why patterns are no scope, as a sentence that follows their name.
    package struct Problem: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    private init() {
        patterns = []
        isEverything = false
        exact = []
        prefixes = []
    }

    package init(_ patterns: [String]) throws(Problem) {
        guard !patterns.isEmpty else {
            throw Problem(description: "name no client; '*' stands for all")
        }
        guard patterns.count <= Self.patternsMax else {
            throw Problem(description: "are more than \(Self.patternsMax)")
        }
        var exact: [[UInt8]] = []
        var prefixes: [[UInt8]] = []
        for pattern in patterns {
            guard pattern.utf8.count <= Self.patternBytesMax else {
                throw Problem(description: "hold a name of more than \(Self.patternBytesMax) bytes")
            }
            // As the events' names are kept; the other form would never match.
            let bytes = Array(CanonicalForm.composed(pattern).utf8)
            guard !bytes.isEmpty else { throw Problem(description: "hold an empty name") }
            let isPrefix = bytes.last == UInt8(ascii: "*")
            let name = isPrefix ? Array(bytes.dropLast()) : bytes
            guard !name.contains(UInt8(ascii: "*")) else {
                throw Problem(
                    description: "hold '\(pattern)'; a '*' stands at a name's end or nowhere")
            }
            if isPrefix { prefixes.append(name) } else { exact.append(name) }
        }
        self.patterns = patterns
        self.exact = exact
        self.prefixes = prefixes
        isEverything = prefixes.contains([])
    }

    /// Whether the scope holds the client with this name.
    package func contains(_ client: UnsafeRawBufferPointer) -> Bool {
        if isEverything { return true }
        return exact.contains { $0.count == client.count && client.elementsEqual($0) }
            || prefixes.contains { client.starts(with: $0) }
    }
}
