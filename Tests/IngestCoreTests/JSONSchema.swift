import FoundationEssentials

/// A JSON value of a test.
indirect enum JSON: Hashable, Decodable {
    case null
    case boolean(Bool)
    case number(Double)
    case text(String)
    case array([JSON])
    case object([String: JSON])

    init(_ text: String) throws {
        self = try JSONDecoder().decode(JSON.self, from: Data(text.utf8))
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .boolean(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .text(value)
        } else if let value = try? container.decode([JSON].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSON].self))
        }
    }

    /// The member with this name.
    subscript(name: String) -> JSON? {
        get { members[name] }
        set {
            guard case .object(var members) = self else { return }
            members[name] = newValue
            self = .object(members)
        }
    }

    var members: [String: JSON] { if case .object(let members) = self { members } else { [:] } }
    var elements: [JSON] { if case .array(let elements) = self { elements } else { [] } }
    var string: String? { if case .text(let text) = self { text } else { nil } }
    var double: Double? { if case .number(let number) = self { number } else { nil } }
    var int: Int? { double.flatMap { Int(exactly: $0) } }
    var strings: [String] { elements.compactMap(\.string) }

    /// As JSON again.
    var json: String {
        switch self {
        case .null: "null"
        case .boolean(let value): "\(value)"
        case .number(let number): Int64(exactly: number).map { "\($0)" } ?? "\(number)"
        case .text(let text): Self.literal(text)
        case .array(let elements): "[" + elements.map(\.json).joined(separator: ",") + "]"
        case .object(let members):
            "{"
                + members.sorted { $0.key < $1.key }
                .map { "\(Self.literal($0.key)):\($0.value.json)" }.joined(separator: ",") + "}"
        }
    }

    private static func literal(_ text: String) -> String {
        var literal = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" || scalar == "\\" || scalar.value < 0x20 {
                let digits = String(scalar.value, radix: 16)
                literal += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            } else {
                literal.unicodeScalars.append(scalar)
            }
        }
        return literal + "\""
    }
}

/// The part of JSON Schema (draft 2020-12) that the API's description uses; another keyword is a problem.
struct JSONSchema {
    /// What references refer to.
    let document: JSON

    /// What is wrong with a value, and which of its members the schema knows.
    struct Verdict {
        var problems: [String] = []
        var known: Set<String> = []

        mutating func add(_ other: Verdict) {
            problems += other.problems
            known.formUnion(other.known)
        }
    }

    func isValid(_ value: JSON, _ schema: JSON) -> Bool {
        judge(value, schema).problems.isEmpty
    }

    /// What is wrong with a value, a member of which the schema knows nothing included.
    func strictProblems(_ value: JSON, _ schema: JSON) -> [String] {
        let verdict = judge(value, schema)
        let unknown = Self.paths(value, "").subtracting(verdict.known)
        return verdict.problems + unknown.sorted().map { "\($0) is not described" }
    }

    /// The value that a reference means.
    func resolved(_ schema: JSON) -> JSON {
        guard let reference = schema["$ref"]?.string else { return schema }
        return reference.split(separator: "/").dropFirst()
            .reduce(document) { $0[String($1)] ?? .null }
    }

    func judge(_ value: JSON, _ schema: JSON, at path: String = "") -> Verdict {
        var verdict = Verdict()
        func require(_ isGood: Bool, _ keyword: String) {
            if !isGood { verdict.problems.append("\(path): \(keyword) \(value.json.prefix(80))") }
        }
        for (keyword, rule) in schema.members {
            switch keyword {
            case "$ref":
                let target = resolved(schema)
                require(target != .null, "there is no \(rule.json)")
                verdict.add(judge(value, target, at: path))
            case "type":
                let types = rule.string.map { [$0] } ?? rule.strings
                require(types.contains { Self.hasType(value, $0) }, "type")
            case "const": require(value == rule, keyword)
            case "enum": require(rule.elements.contains(value), keyword)
            case "minimum": require((value.double ?? .infinity) >= (rule.double ?? 0), keyword)
            case "maximum": require((value.double ?? -.infinity) <= (rule.double ?? 0), keyword)
            case "minLength", "maxLength", "pattern":
                guard let text = value.string else { continue }
                require(Self.allows(text, keyword, rule), keyword)
            case "minItems", "maxItems":
                guard case .array(let elements) = value else { continue }
                let isMost = keyword == "maxItems"
                let bound = rule.int ?? -1
                require(isMost ? elements.count <= bound : elements.count >= bound, keyword)
            case "items":
                for (index, element) in value.elements.enumerated() {
                    verdict.add(judge(element, rule, at: "\(path)[\(index)]"))
                }
            case "required":
                guard case .object(let members) = value else { continue }
                require(rule.strings.allSatisfy { members[$0] != nil }, keyword)
            case "properties":
                for (name, schema) in rule.members {
                    guard let member = value[name] else { continue }
                    verdict.known.insert("\(path).\(name)")
                    verdict.add(judge(member, schema, at: "\(path).\(name)"))
                }
            case "additionalProperties":
                for (name, member) in value.members where schema["properties"]?[name] == nil {
                    verdict.known.insert("\(path).\(name)")
                    verdict.add(judge(member, rule, at: "\(path).\(name)"))
                }
            case "propertyNames":
                for name in value.members.keys {
                    verdict.add(judge(.text(name), rule, at: "\(path){\(name)}"))
                }
            case "maxProperties": require(value.members.count <= rule.int ?? -1, keyword)
            case "allOf": for one in rule.elements { verdict.add(judge(value, one, at: path)) }
            case "anyOf", "oneOf":
                let good = rule.elements.map { judge(value, $0, at: path) }
                    .filter(\.problems.isEmpty)
                require(keyword == "oneOf" ? good.count == 1 : !good.isEmpty, keyword)
                for one in good { verdict.add(one) }
            case "description", "format", "readOnly", "x-statuses": break
            default: verdict.problems.append("the keyword \(keyword) is not known to this test")
            }
        }
        return verdict
    }

    private static func allows(_ text: String, _ keyword: String, _ rule: JSON) -> Bool {
        switch keyword {
        case "minLength": return text.unicodeScalars.count >= rule.int ?? .max
        case "maxLength": return text.unicodeScalars.count <= rule.int ?? -1
        default:
            guard let pattern = rule.string, let regex = try? Regex(pattern) else { return false }
            return text.contains(regex.matchingSemantics(.unicodeScalar))
        }
    }

    private static func hasType(_ value: JSON, _ type: String) -> Bool {
        switch value {
        case .null: type == "null"
        case .boolean: type == "boolean"
        case .number(let number):
            type == "number" || type == "integer" && number.rounded() == number
        case .text: type == "string"
        case .array: type == "array"
        case .object: type == "object"
        }
    }

    /// Of all members, at any depth.
    private static func paths(_ value: JSON, _ path: String) -> Set<String> {
        var all: Set<String> = []
        for (name, member) in value.members {
            all.insert("\(path).\(name)")
            all.formUnion(paths(member, "\(path).\(name)"))
        }
        for (index, element) in value.elements.enumerated() {
            all.formUnion(paths(element, "\(path)[\(index)]"))
        }
        return all
    }
}
