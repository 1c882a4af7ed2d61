internal import CYAML

/// Reads YAML with libyaml.
package enum YAMLDocument {
    /// The deepest nesting: configuration is flat, and every level takes some of the stack.
    package static let depthMax = 16

    /// The root of the one document in `text`; nil when there is none.
    ///
    /// - Throws: ``YAMLProblem``.
    package static func read(_ text: String) throws(YAMLProblem) -> YAMLNode? {
        var bytes = Array(text.utf8)
        // An empty array has no address to read from; a line feed says as little.
        if bytes.isEmpty { bytes = [UInt8(ascii: "\n")] }
        let result = unsafe bytes.withUnsafeBufferPointer { buffer in
            Result { () throws(YAMLProblem) in
                let reader = unsafe YAMLReader(buffer)
                return try reader.document()
            }
        }
        return try result.get()
    }
}

/// A libyaml parser over bytes that outlive it.
@safe private final class YAMLReader {
    private let parser: UnsafeMutablePointer<yaml_parser_t>

    init(_ bytes: UnsafeBufferPointer<UInt8>) {
        unsafe parser = .allocate(capacity: 1)
        let isReady = unsafe yaml_parser_initialize(parser)
        precondition(isReady == 1, "no memory for a parser of some KiB")
        unsafe yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
        unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    }

    deinit {
        unsafe yaml_parser_delete(parser)
        unsafe parser.deallocate()
    }

    /// What the parser comes upon.
    private enum Event {
        case scalar(String, isPlain: Bool)
        case sequenceStart, sequenceEnd, mappingStart, mappingEnd
        case alias
        case documentStart
        case streamEnd
        /// What says nothing of the content.
        case other
    }

    func document() throws(YAMLProblem) -> YAMLNode? {
        var root: YAMLNode?
        while true {
            let (event, line) = try next()
            switch event {
            case .streamEnd: return root
            case .documentStart:
                guard root == nil else {
                    throw YAMLProblem(
                        message: "there is a second document; write one only", line: line, column: 1
                    )
                }
                let (event, line) = try next()
                root = try node(event, line, depth: 0)
            default: continue
            }
        }
    }

    private func node(_ event: Event, _ line: Int, depth: Int) throws(YAMLProblem) -> YAMLNode {
        guard depth < YAMLDocument.depthMax else {
            throw YAMLProblem(
                message: "values are nested deeper than \(YAMLDocument.depthMax) levels",
                line: line,
                column: nil)
        }
        switch event {
        case .scalar(let text, let isPlain):
            return YAMLNode(content: .scalar(text, isPlain: isPlain), line: line)
        case .sequenceStart:
            var elements: [YAMLNode] = []
            while true {
                let (event, elementLine) = try next()
                if case .sequenceEnd = event {
                    return YAMLNode(content: .sequence(elements), line: line)
                }
                elements.append(try node(event, elementLine, depth: depth + 1))
            }
        case .mappingStart:
            var pairs: [YAMLNode.Pair] = []
            while true {
                let (event, keyLine) = try next()
                if case .mappingEnd = event {
                    return YAMLNode(content: .mapping(pairs), line: line)
                }
                let key = try node(event, keyLine, depth: depth + 1)
                let (valueEvent, valueLine) = try next()
                let value = try node(valueEvent, valueLine, depth: depth + 1)
                pairs.append(YAMLNode.Pair(key: key, value: value))
            }
        case .alias:
            throw YAMLProblem(
                message: "an alias stands for a value; write the value itself", line: line,
                column: nil)
        case .sequenceEnd, .mappingEnd, .documentStart, .streamEnd, .other:
            // The parser's grammar has none of them here.
            throw YAMLProblem(message: "a value is missing", line: line, column: nil)
        }
    }

    private func next() throws(YAMLProblem) -> (event: Event, line: Int) {
        var event = unsafe yaml_event_t()
        guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw problem() }
        defer { unsafe yaml_event_delete(&event) }
        let line = unsafe Int(clamping: event.start_mark.line) &+ 1
        return unsafe (translated(event), line)
    }

    private func translated(_ event: yaml_event_t) -> Event {
        switch unsafe event.type {
        case YAML_SCALAR_EVENT:
            let scalar = unsafe event.data.scalar
            let bytes = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
            let style = unsafe scalar.style
            return unsafe .scalar(
                String(decoding: bytes, as: UTF8.self), isPlain: style == YAML_PLAIN_SCALAR_STYLE)
        case YAML_SEQUENCE_START_EVENT: return .sequenceStart
        case YAML_SEQUENCE_END_EVENT: return .sequenceEnd
        case YAML_MAPPING_START_EVENT: return .mappingStart
        case YAML_MAPPING_END_EVENT: return .mappingEnd
        case YAML_ALIAS_EVENT: return .alias
        case YAML_DOCUMENT_START_EVENT: return .documentStart
        case YAML_STREAM_END_EVENT: return .streamEnd
        default: return .other
        }
    }

    private func problem() -> YAMLProblem {
        let text = unsafe parser.pointee.problem.map { unsafe String(cString: $0) }
        guard unsafe parser.pointee.error != YAML_READER_ERROR else {
            return YAMLProblem(message: text ?? "unreadable", line: nil, column: nil)
        }
        let mark = unsafe parser.pointee.problem_mark
        return YAMLProblem(
            message: text ?? "unreadable", line: Int(clamping: mark.line) &+ 1,
            column: Int(clamping: mark.column) &+ 1)
    }
}
