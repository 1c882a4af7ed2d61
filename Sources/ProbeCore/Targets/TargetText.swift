internal import ServiceKit

/// A target's text taken apart: an address, and options that are taken one by one.
struct TargetText {
    let address: String
    /// What comes before `://`, in lower case; the whole address when there is none.
    let scheme: String
    private var options: [String: String] = [:]

    /// The longest text, bytes: a target and all its options.
    private static let bytesMax = 4096

    init(_ text: String) throws(TargetRefusal) {
        guard text.utf8.count <= Self.bytesMax else {
            throw TargetRefusal("the target", "is longer than \(Self.bytesMax) bytes")
        }
        let words = text.split(separator: " ")
        guard let first = words.first else { throw TargetRefusal("the target", "is empty") }
        address = String(first)
        let end = address.firstRange(of: "://")?.lowerBound ?? address.endIndex
        scheme = address[..<end].lowercased()
        for word in words.dropFirst() {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw TargetRefusal(address, "has '\(word)' behind it; options are name=value")
            }
            guard let value = Self.decoded(parts[1]) else {
                throw TargetRefusal(
                    address, "has an option \(parts[0]) that is not percent-encoded UTF-8")
            }
            guard options.updateValue(value, forKey: String(parts[0])) == nil else {
                throw TargetRefusal(address, "has the option \(parts[0]) twice")
            }
        }
    }

    /// What comes after `://`; nil when that is missing.
    var rest: Substring? {
        address.firstRange(of: "://").map { address[$0.upperBound...] }
    }

    mutating func take(_ name: String) -> String? {
        options.removeValue(forKey: name)
    }

    mutating func takeInteger(
        _ name: String, in range: ClosedRange<Int>
    ) throws(TargetRefusal) -> Int? {
        guard let text = take(name) else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw refusal(name, "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    mutating func takeByteCount(
        _ name: String, in range: ClosedRange<Int>
    ) throws(TargetRefusal) -> Int? {
        guard let text = take(name) else { return nil }
        guard let value = UnitText.byteCount(text), range.contains(value) else {
            let lower = UnitText.text(ofByteCount: range.lowerBound)
            let upper = UnitText.text(ofByteCount: range.upperBound)
            throw refusal(name, "a number of bytes from \(lower) to \(upper), such as 16MiB")
        }
        return value
    }

    mutating func takeDuration(
        _ name: String, in range: ClosedRange<Duration>
    ) throws(TargetRefusal) -> Duration? {
        guard let text = take(name) else { return nil }
        guard let value = UnitText.duration(text), range.contains(value) else {
            let lower = UnitText.text(of: range.lowerBound)
            let upper = UnitText.text(of: range.upperBound)
            throw refusal(name, "a duration from \(lower) to \(upper), such as 500ms or 30s")
        }
        return value
    }

    mutating func takeChoice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: String, of: Choice.Type
    ) throws(TargetRefusal) -> Choice? {
        guard let text = take(name) else { return nil }
        guard let value = Choice(rawValue: text) else {
            let words = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw refusal(name, "one of \(words)")
        }
        return value
    }

    /// Refuses what is left.
    func finish() throws(TargetRefusal) {
        guard let name = options.keys.min() else { return }
        throw TargetRefusal(
            address, "has the option \(name), which its kind of target does not know")
    }

    /// The refusal of an option's value.
    func refusal(_ name: String, _ needed: String) -> TargetRefusal {
        TargetRefusal(address, "has an option \(name) that is not \(needed)")
    }

    /// The text with `%XX` decoded (RFC 3986, section 2.1); nil when it is malformed.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(rest.prefix(2)) ?? "", radix: 16) else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
