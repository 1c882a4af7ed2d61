import EventParsing
import Testing

private let good = Members().json

/// The good event with one more member, byte for byte.
private func event(with vector: JSONVector) -> [UInt8] {
    Array(good.dropLast().utf8) + Array(",\"x\":".utf8) + vector.value + [0x7D]
}

private func verdict(_ bytes: [UInt8]) -> Verdict {
    guard let outcomes = try? parse(bytes) else { return .refused }
    return outcomes.allSatisfy(\.isGood) ? .accepted : .refused
}

/// RFC 8259, vector by vector: as a member, in an array of events and in lines.
struct JSONVectorTests {
    @Test func `there are enough vectors`() {
        let count = goodValues.count + badValues.count + badBytes.count + optionalValues.count
        #expect(count >= 250)
    }

    @Test(arguments: goodValues)
    func `what is JSON is accepted`(_ vector: JSONVector) throws {
        #expect(try parse(event(with: vector)) == parse(good))
    }

    @Test(arguments: badValues + badBytes)
    func `what is not JSON is refused`(_ vector: JSONVector) {
        let rejection = #expect(throws: EventRejection.self) { try parse(event(with: vector)) }
        #expect(rejection?.code == .invalidRequest)
        #expect(rejection?.field == nil)
        #expect(rejection?.message.hasPrefix("the body ") == true)
    }

    @Test(arguments: optionalValues)
    func `what is left open has one answer`(_ vector: JSONVector, _ expected: Verdict) {
        #expect(verdict(event(with: vector)) == expected)
    }

    @Test(arguments: goodValues + badValues + badBytes + optionalValues.map(\.0))
    func `a line says the same as a body, and harms no neighbour`(_ vector: JSONVector) throws {
        let line = event(with: vector)
        // A line cannot hold a line break; without any it is the same text.
        guard !line.contains(0x0A) else { return }
        let neighbour = Array(good.utf8)
        let outcomes = try parse(neighbour + [0x0A] + line + [0x0A] + neighbour, as: .lines)
        #expect(outcomes.map(\.isGood) == [true, verdict(line) == .accepted, true])
        if let rejection = outcomes[1].rejection {
            #expect(rejection.code == .invalidRequest)
            #expect(rejection.field == nil)
        }
    }

    /// Bodies as wholes: only an object or an array of objects is one.
    @Test(
        arguments: [
            ("", .refused), (" ", .refused), ("\n", .refused), ("\u{0}", .refused),
            ("{}", .refused), ("[]", .accepted), (" [ ] ", .accepted), ("\n[]\r\n", .accepted),
            ("[{}]", .refused), ("null", .refused), ("true", .refused), ("0", .refused),
            ("\"a\"", .refused), ("[null]", .refused), ("[[]]", .refused),
            ("[[\(good)]]", .refused),
            (good, .accepted), (" \(good) ", .accepted), ("\n\(good)\n", .accepted),
            ("[\(good)]", .accepted), ("[\(good),\(good)]", .accepted),
            ("[ \(good) ,\n\(good)\t]", .accepted), ("\(good),", .refused), (",\(good)", .refused),
            ("\(good)\n\(good)", .refused), ("\(good),\(good)", .refused), ("(\(good))", .refused),
            ("[\(good),]", .refused), ("[\(good)", .refused), ("\(good)]", .refused),
            ("\u{FEFF}[]", .refused), ("[]\u{FEFF}", .refused), ("\u{1E}\(good)\n", .refused),
            ("[]\u{0}", .refused), ("[]x", .refused), ("[][]", .refused), ("[]{}", .refused),
            (")]}',\n\(good)", .refused), ("callback(\(good))", .refused), ("// a\n[]", .refused),
            ("[]// a", .refused), ("/* a */[]", .refused), ("---\n[]", .refused),
            ("{\"events\":[\(good)]}", .refused), ("<a>\(good)</a>", .refused),
        ] as [(String, Verdict)])
    func `a body is an object or an array of objects`(_ body: String, _ expected: Verdict) {
        #expect(verdict(Array(body.utf8)) == expected)
    }

    @Test(arguments: [[0xFF, 0xFE], [0xFE, 0xFF], []] as [[UInt8]])
    func `UTF-16 is refused, with and without a byte order mark`(_ mark: [UInt8]) {
        let little = good.utf16.flatMap { [UInt8($0 & 0xFF), UInt8($0 >> 8)] }
        let big = good.utf16.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
        #expect(verdict(mark + little) == .refused)
        #expect(verdict(mark + big) == .refused)
    }

    /// How many events lines hold, and which of them are good.
    @Test(
        arguments: [
            ("", []), ("\n", []), ("\n\n\n", []), (" ", []), ("\r\n", []), ("\t\n \n", []),
            ("G", [true]), ("G\n", [true]), ("G\r\n", [true]), ("\nG", [true]), ("  G  ", [true]),
            ("G\nG", [true, true]), ("G\r\nG\r\n", [true, true]), ("G\n\n\nG\n", [true, true]),
            ("G\rG", [false]), ("GG", [false]), ("G G", [false]), ("G,G", [false]),
            ("G,\nG", [false, true]),
            ("[G]", [false]), ("[\nG\n]", [false, true, false]), ("G\nnull", [true, false]),
            ("G\n{", [true, false]), ("{\n}", [false, false]), ("{}\nG", [false, true]),
            ("\u{FEFF}G\nG", [false, true]), ("G\n\u{FEFF}G", [true, false]),
            ("G\u{2028}G", [false]), ("G\u{85}G", [false]), ("G\u{B}\nG", [false, true]),
            ("G\n\u{0}\nG", [true, false, true]),
            ("G\n\"\nG\n\"\nG", [true, false, true, false, true]),
            ("G\n\"\\\nG", [true, false, true]), ("G\n{\"a\":\"\nG", [true, false, true]),
            ("# a\nG", [false, true]), ("\u{1E}G\nG", [false, true]),
            ("1\n2\nG", [false, false, true]),
        ] as [(String, [Bool])])
    func `each line stands for itself`(_ lines: String, _ expected: [Bool]) throws {
        let body = lines.split(separator: "G", omittingEmptySubsequences: false)
            .joined(separator: good)
        #expect(try parse(body, as: .lines).map(\.isGood) == expected)
    }
}
