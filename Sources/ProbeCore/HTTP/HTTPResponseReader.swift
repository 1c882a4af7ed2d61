/// Reads one HTTP/1.1 response from the pieces in which it arrives (RFC 9112).
///
/// It takes any bytes without trapping, and its memory is bounded: the fields by ``headBytesMax``, and
/// the body is counted and thrown away but for the bytes it was asked to keep. Answers with a 1xx
/// status are skipped. It judges like a lenient client where that is harmless (a bare line feed
/// ends a line, `Transfer-Encoding` wins over `Content-Length`) and refuses the rest.
package struct HTTPResponseReader: Sendable {
    /// The status line and the fields of all heads and trailers together, bytes.
    package static let headBytesMax = 64 * 1024
    /// The fields of one head.
    package static let fieldsMax = 256
    /// The line that announces a chunk, with its extensions, bytes.
    private static let chunkLineBytesMax = 1024
    /// The hexadecimal digits of a chunk's size: a larger one would not fit an `Int`.
    private static let chunkSizeDigitsMax = 15

    /// The status and the fields of an answer.
    package struct Head: Sendable {
        package let status: Int
        /// The minor version: 0 or 1.
        package let minorVersion: Int
        /// Names in lower case, in their order.
        package fileprivate(set) var fields: [(name: String, value: String)] = []

        /// The values of all fields with this lower-case name, joined as a list.
        package func value(of name: String) -> String? {
            let values = fields.lazy.filter { $0.name == name }.map(\.value)
            return values.isEmpty ? nil : values.joined(separator: ", ")
        }
    }

    private enum State {
        case statusLine
        case fields
        case sizedBody(left: Int)
        case bodyUntilClose
        case chunkSize
        case chunk(left: Int)
        case chunkEnd
        case trailers
        case complete
    }

    /// The final answer's head, once it is complete.
    package private(set) var head: Head?
    /// The body's bytes so far, without the framing of chunks.
    package private(set) var bodyBytes = 0
    /// The body's first bytes, as many as were asked for.
    package private(set) var keptBody: [UInt8] = []

    /// The searches for texts in the body, in the order in which they were asked for.
    package private(set) var searches: [StreamSearch]
    /// The bytes of the status line and the fields, of all heads and trailers.
    package private(set) var headBytes = 0

    private let keepBytesMax: Int
    private var state = State.statusLine
    private var pending: Head?
    private var line: [UInt8] = []
    private var hasExcess = false

    /// A reader that keeps the first `keepBytesMax` bytes of the body and lets `searches` see all of it.
    package init(keepBytesMax: Int = 0, searches: [StreamSearch] = []) {
        self.keepBytesMax = keepBytesMax
        self.searches = searches
    }

    /// Whether the answer has ended.
    package var isComplete: Bool {
        if case .complete = state { true } else { false }
    }

    /// Whether another request may follow on the same connection (RFC 9112, section 9.3).
    package var allowsReuse: Bool {
        guard isComplete, !hasExcess, let head, head.minorVersion == 1 else { return false }
        return !Self.tokens(head.value(of: "connection")).contains("close")
    }

    /// Takes the next piece.
    package mutating func consume(_ bytes: Span<UInt8>) throws(HTTPViolation) {
        var index = 0
        while index < bytes.count {
            switch state {
            case .complete:
                hasExcess = true
                return
            case .sizedBody(let left):
                let taken = take(bytes, from: index, atMost: left)
                index += taken
                state = taken == left ? .complete : .sizedBody(left: left - taken)
            case .bodyUntilClose:
                index += take(bytes, from: index, atMost: .max)
            case .chunk(let left):
                let taken = take(bytes, from: index, atMost: left)
                index += taken
                state = taken == left ? .chunkEnd : .chunk(left: left - taken)
            case .statusLine, .fields, .chunkSize, .chunkEnd, .trailers:
                let byte = bytes[index]
                index += 1
                try count(byte)
                if byte == UInt8(ascii: "\n") {
                    if line.last == UInt8(ascii: "\r") { line.removeLast() }
                    try endLine()
                    line.removeAll(keepingCapacity: true)
                } else {
                    line.append(byte)
                    try checkStart()
                }
            }
        }
    }

    /// Says that the connection ended.
    ///
    /// - Throws: ``HTTPViolation/Code/truncated`` unless the answer is complete without more.
    package mutating func finish() throws(HTTPViolation) {
        switch state {
        case .complete: return
        case .bodyUntilClose: state = .complete
        case .statusLine where headBytes == 0:
            throw HTTPViolation(.truncated, "the server closed without an answer")
        case .statusLine, .fields:
            throw HTTPViolation(.truncated, "the connection ended in the answer's head")
        case .sizedBody(let left):
            throw HTTPViolation(
                .truncated, "the connection ended \(left) bytes before the body's end")
        case .chunkSize, .chunk, .chunkEnd, .trailers:
            throw HTTPViolation(.truncated, "the connection ended inside a chunked body")
        }
    }

    /// Counts up to `limit` bytes of body, searches them and keeps those it shall keep.
    private mutating func take(_ bytes: Span<UInt8>, from index: Int, atMost limit: Int) -> Int {
        let taken = min(limit, bytes.count - index)
        let kept = min(taken, max(0, keepBytesMax - keptBody.count))
        for offset in 0..<kept { keptBody.append(bytes[index + offset]) }
        for search in searches.indices {
            searches[search].consume(bytes.extracting(index..<index + taken))
        }
        bodyBytes &+= taken
        return taken
    }

    private mutating func count(_ byte: UInt8) throws(HTTPViolation) {
        switch state {
        case .chunkSize, .chunkEnd:
            guard line.count < Self.chunkLineBytesMax else {
                throw HTTPViolation(.malformedBody, "a chunk's size line is too long")
            }
        default:
            headBytes += 1
            guard headBytes <= Self.headBytesMax else {
                throw HTTPViolation(
                    .headTooLarge, "the answer's fields are larger than \(Self.headBytesMax) bytes")
            }
        }
    }

    /// Refuses another protocol at its first bytes instead of at its first line feed.
    private func checkStart() throws(HTTPViolation) {
        guard case .statusLine = state else { return }
        let start = Array("HTTP/1.".utf8)
        guard line.count > start.count || start.starts(with: line) else {
            throw HTTPViolation(.notHTTP, "the answer does not begin with an HTTP/1 status line")
        }
    }

    private mutating func endLine() throws(HTTPViolation) {
        switch state {
        case .statusLine:
            pending = try Self.parseStatusLine(line)
            state = .fields
        case .fields:
            if line.isEmpty { try endHead() } else { try addField() }
        case .chunkSize:
            let size = try Self.parseChunkSize(line)
            state = size == 0 ? .trailers : .chunk(left: size)
        case .chunkEnd:
            guard line.isEmpty else {
                throw HTTPViolation(.malformedBody, "a chunk is longer than its size says")
            }
            state = .chunkSize
        case .trailers:
            if line.isEmpty { state = .complete }
        case .sizedBody, .bodyUntilClose, .chunk, .complete:
            preconditionFailure("bodies have no lines")
        }
    }

    private static func parseStatusLine(_ line: [UInt8]) throws(HTTPViolation) -> Head {
        let bad = HTTPViolation(.notHTTP, "the answer does not begin with an HTTP/1 status line")
        // HTTP/1.x SP 3DIGIT [SP reason]
        guard line.count >= 12, line.starts(with: "HTTP/1.".utf8),
            line[7] == UInt8(ascii: "0") || line[7] == UInt8(ascii: "1"),
            line[8] == UInt8(ascii: " "),
            line.count == 12 || line[12] == UInt8(ascii: " "),
            let status = decimal(line[9..<12]), (100...999).contains(status)
        else { throw bad }
        return Head(status: status, minorVersion: line[7] == UInt8(ascii: "0") ? 0 : 1)
    }

    private mutating func addField() throws(HTTPViolation) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > 0,
            line[..<colon].allSatisfy(Self.isNameByte)
        else { throw HTTPViolation(.malformedHead, "a field of the answer has no name") }
        let value = line[(colon + 1)...]
        guard !value.contains(where: { $0 < 0x20 && $0 != UInt8(ascii: "\t") || $0 == 0x7F }) else {
            throw HTTPViolation(.malformedHead, "a field of the answer has control characters")
        }
        guard let count = pending?.fields.count, count < Self.fieldsMax else {
            throw HTTPViolation(
                .headTooLarge, "the answer has more than \(Self.fieldsMax) fields")
        }
        let name = String(decoding: line[..<colon], as: UTF8.self).lowercased()
        pending?.fields.append((name, Self.trimmed(value)))
    }

    private mutating func endHead() throws(HTTPViolation) {
        guard let ended = pending else { preconditionFailure("fields follow a status line") }
        pending = nil
        if (100...199).contains(ended.status) {
            guard ended.status != 101 else {
                throw HTTPViolation(.malformedHead, "the server switched protocols unasked")
            }
            state = .statusLine
            return
        }
        head = ended
        state = try Self.bodyState(after: ended)
    }

    /// How the body's end is found (RFC 9112, section 6.3).
    private static func bodyState(after head: Head) throws(HTTPViolation) -> State {
        if head.status == 204 || head.status == 304 { return .complete }
        if let encoding = head.value(of: "transfer-encoding") {
            return tokens(encoding).last == "chunked" ? .chunkSize : .bodyUntilClose
        }
        guard let lengths = head.value(of: "content-length") else { return .bodyUntilClose }
        let texts = Set(tokens(lengths))
        guard texts.count == 1, let text = texts.first, let length = decimal(Array(text.utf8)[...])
        else { throw HTTPViolation(.malformedHead, "the answer's Content-Length is no length") }
        return length == 0 ? .complete : .sizedBody(left: length)
    }

    private static func parseChunkSize(_ line: [UInt8]) throws(HTTPViolation) -> Int {
        let digits = line.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") }
        guard !digits.isEmpty, digits.count <= chunkSizeDigitsMax,
            digits.allSatisfy(\.isHexadecimalDigit),
            let size = Int(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw HTTPViolation(.malformedBody, "a chunk's size is not a hexadecimal number") }
        return size
    }

    /// The number written in decimal digits alone; nil when it is empty, has others, or overflows.
    private static func decimal(_ digits: ArraySlice<UInt8>) -> Int? {
        guard !digits.isEmpty, digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(String(decoding: digits, as: UTF8.self))
    }

    private static func tokens(_ list: String?) -> [String] {
        (list ?? "").split(separator: ",").map { trimmed(Array($0.utf8)[...]).lowercased() }
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> String {
        let isSpace = { (byte: UInt8) in byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        let start = bytes.drop(while: isSpace)
        let end = start.lastIndex { !isSpace($0) }.map { $0 + 1 } ?? start.startIndex
        return String(decoding: start[start.startIndex..<end], as: UTF8.self)
    }

    /// A character of a token (RFC 9110, section 5.6.2).
    static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}

extension UInt8 {
    fileprivate var isHexadecimalDigit: Bool {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }
}
