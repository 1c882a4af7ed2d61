internal import ServiceKit

/// A piece of a JSON document that is written down in code; its members keep their order.
enum JSONNode {
    case boolean(Bool)
    case integer(Int64)
    case text(String)
    case array([JSONNode])
    case object([(String, JSONNode)])
    /// JSON that is there already.
    case raw(String)

    func append(to document: inout String) {
        switch self {
        case .boolean(let value): document += value ? "true" : "false"
        case .integer(let value): document += "\(value)"
        case .text(let text): JSONText.append(text, to: &document)
        case .raw(let json): document += json
        case .array(let elements):
            document += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { document += "," }
                element.append(to: &document)
            }
            document += "]"
        case .object(let members):
            document += "{"
            for (index, (name, value)) in members.enumerated() {
                if index > 0 { document += "," }
                JSONText.append(name, to: &document)
                document += ":"
                value.append(to: &document)
            }
            document += "}"
        }
    }

    /// The object with more members; anything else stays as it is.
    func with(_ more: KeyValuePairs<String, JSONNode>) -> JSONNode {
        guard case .object(let members) = self else { return self }
        return .object(members + more.map { ($0.key, $0.value) })
    }

    static func texts(_ texts: some Sequence<String>) -> JSONNode {
        .array(texts.map(JSONNode.text))
    }

    /// A reference within the document.
    static func reference(_ kind: String, _ name: String) -> JSONNode {
        ["$ref": .text("#/components/\(kind)/\(name)")]
    }
}

extension JSONNode: ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral,
    ExpressibleByStringInterpolation, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral
{
    init(dictionaryLiteral members: (String, JSONNode)...) {
        self = .object(members)
    }

    init(arrayLiteral elements: JSONNode...) {
        self = .array(elements)
    }

    init(stringLiteral text: String) {
        self = .text(text)
    }

    init(integerLiteral value: Int64) {
        self = .integer(value)
    }

    init(booleanLiteral value: Bool) {
        self = .boolean(value)
    }
}
