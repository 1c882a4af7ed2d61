/// Looks for a text in bytes that arrive in pieces, over the borders between them.
///
/// Its memory is that of the text (Knuth, Morris and Pratt 1977); nothing of the stream is kept.
package struct StreamSearch: Sendable {
    private let text: [UInt8]
    /// For each count of matched bytes, the longest shorter match that these bytes end with.
    private let shorterMatch: [Int]
    private var matched = 0
    /// Whether the text has come by.
    package private(set) var isFound: Bool

    package init(for text: some Sequence<UInt8>) {
        let text = Array(text)
        var shorter = [Int](repeating: 0, count: text.count + 1)
        var length = 0
        for index in text.indices.dropFirst() {
            while length > 0, text[index] != text[length] { length = shorter[length] }
            if text[index] == text[length] { length += 1 }
            shorter[index + 1] = length
        }
        self.text = text
        shorterMatch = shorter
        isFound = text.isEmpty
    }

    /// Takes the next piece.
    package mutating func consume(_ bytes: Span<UInt8>) {
        if isFound { return }
        for index in bytes.indices {
            let byte = bytes[index]
            while matched > 0, byte != text[matched] { matched = shorterMatch[matched] }
            if byte == text[matched] { matched += 1 }
            if matched == text.count {
                isFound = true
                return
            }
        }
    }
}
