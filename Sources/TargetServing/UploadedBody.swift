/// Finds the end of a request's body and counts its bytes, which are thrown away.
struct UploadedBody {
    private enum State {
        case sized(left: Int)
        case chunkSize(Int?)
        /// In what follows a chunk's size, up to the line's end.
        case chunkExtension(size: Int)
        case chunk(left: Int)
        case chunkEnd
        /// In the lines behind the last chunk; an empty one ends them.
        case trailer(isEmpty: Bool)
        case complete
        case malformed
    }

    private var state: State
    /// The body's bytes, without the framing of chunks.
    private(set) var bytes = 0

    /// The body that follows a head with these fields, in lower case and without spaces; nil without a length.
    init?(_ fields: [String]) {
        if fields.contains("transfer-encoding:chunked") {
            state = .chunkSize(nil)
            return
        }
        guard let field = fields.first(where: { $0.hasPrefix("content-length:") }),
            let length = Int(field.dropFirst("content-length:".count)), length >= 0
        else { return nil }
        state = length == 0 ? .complete : .sized(left: length)
    }

    var isComplete: Bool {
        if case .complete = state { true } else { false }
    }

    var isMalformed: Bool {
        if case .malformed = state { true } else { false }
    }

    /// Takes what belongs to the body; gives the count of bytes taken.
    mutating func consume(_ piece: Span<UInt8>) -> Int {
        var index = 0
        while index < piece.count {
            let byte = piece[index]
            switch state {
            case .complete, .malformed: return index
            case .sized(let left):
                let taken = take(left, of: piece.count - index)
                index += taken
                state = taken == left ? .complete : .sized(left: left - taken)
                continue
            case .chunk(let left):
                let taken = take(left, of: piece.count - index)
                index += taken
                state = taken == left ? .chunkEnd : .chunk(left: left - taken)
                continue
            case .chunkSize(let size): state = Self.after(size, byte)
            case .chunkExtension(let size):
                if byte == UInt8(ascii: "\n") { state = Self.chunk(size) }
            case .chunkEnd: if byte == UInt8(ascii: "\n") { state = .chunkSize(nil) }
            case .trailer(let isEmpty):
                if byte == UInt8(ascii: "\n") {
                    state = isEmpty ? .complete : .trailer(isEmpty: true)
                } else if byte != UInt8(ascii: "\r") {
                    state = .trailer(isEmpty: false)
                }
            }
            index += 1
        }
        return index
    }

    private mutating func take(_ left: Int, of available: Int) -> Int {
        let taken = min(left, available)
        bytes &+= taken
        return taken
    }

    private static func after(_ size: Int?, _ byte: UInt8) -> State {
        if let digit = Character(Unicode.Scalar(byte)).hexDigitValue {
            let (scaled, overflow) = (size ?? 0).multipliedReportingOverflow(by: 16)
            return overflow ? .malformed : .chunkSize(scaled | digit)
        }
        guard let size else { return .malformed }
        return byte == UInt8(ascii: "\n") ? chunk(size) : .chunkExtension(size: size)
    }

    private static func chunk(_ size: Int) -> State {
        size == 0 ? .trailer(isEmpty: true) : .chunk(left: size)
    }
}
