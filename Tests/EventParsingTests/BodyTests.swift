import EventParsing
import Testing

private let good = Members().json

struct BodyTests {
    @Test func `an object, an array and lines hold the same event`() throws {
        let single = try parse(good)
        #expect(try parse("[\(good)]") == single)
        #expect(try parse(good, as: .lines) == single)
        #expect(try parse(good + "\n", as: .lines) == single)
    }

    @Test func `an empty array and empty lines hold nothing`() throws {
        #expect(try parse("[]").isEmpty)
        #expect(try parse("", as: .lines).isEmpty)
        #expect(try parse("\n \r\n\t\n", as: .lines).isEmpty)
    }

    @Test func `blank lines and carriage returns do not count`() throws {
        let outcomes = try parse("\n\(good)\r\n\r\n  \(good)  \n\n", as: .lines)
        #expect(outcomes.map(\.isGood) == [true, true])
    }

    @Test(arguments: [
        "{", "}", "x", "\"", "{\"a\":", "[", "\(good)x", "\(good)\(good)", "\u{FEFF}\(good)",
        String(good.dropLast()), "{\"client_id\":\"a", "\u{0}",
    ])
    func `a broken line spoils only itself`(_ broken: String) throws {
        let outcomes = try parse("\(good)\n\(broken)\n\(good)", as: .lines)
        #expect(outcomes.map(\.isGood) == [true, false, true])
        #expect(outcomes[1].rejection?.code == .invalidRequest)
        #expect(outcomes[1].rejection?.field == nil)
    }

    @Test func `a line of bytes that are not UTF-8 spoils only itself`() throws {
        let line = Array("\(good)\n".utf8)
        let outcomes = try parse(line + [0x7B, 0xFF, 0x7D, 0x0A] + line, as: .lines)
        #expect(outcomes.map(\.isGood) == [true, false, true])
        #expect(outcomes[1].rejection?.message == "the line is not UTF-8")
    }

    @Test(arguments: ["1", "null", "\"text\"", "[1,2]", "true", "-0.5e3"])
    func `an element or line that is no object is refused`(_ value: String) throws {
        for outcomes in [
            try parse("[\(good),\(value),\(good)]"),
            try parse("\(good)\n\(value)\n\(good)", as: .lines),
            try parse("\(good)\n\(good)\n\(value)", as: .lines),
        ] {
            #expect(outcomes.filter(\.isGood).count == 2)
            let rejection = outcomes.compactMap(\.rejection).first
            #expect(rejection?.message == "an event must be a JSON object")
        }
    }

    @Test func `a line shows where it breaks in the body`() throws {
        let outcomes = try parse("{}\n{\"a\" 1}", as: .lines)
        #expect(
            outcomes[1].rejection?.message == "the line lacks a colon, at byte 8 of the body")
    }

    @Test(arguments: ["[\(good)", "[\(good),]", "[,\(good)]", "[\(good) \(good)]", "[\(good)]]"])
    func `a broken array is refused as a whole`(_ body: String) {
        #expect(throws: EventRejection.self) { try parse(body) }
    }

    @Test func `more events than allowed are refused as a whole`() throws {
        let parser = EventParser(eventCountMax: 3)
        let lines = Array(repeating: good, count: 4)
        for (body, form) in [
            ("[" + lines.joined(separator: ",") + "]", EventParser.Form.json),
            (lines.joined(separator: "\n"), .lines),
        ] {
            let rejection = #expect(throws: EventRejection.self) {
                try parse(Array(body.utf8), as: form, parser: parser)
            }
            #expect(rejection?.code == .payloadTooLarge)
        }
        let allowed = "[" + lines.dropLast().joined(separator: ",") + "]"
        #expect(try parse(Array(allowed.utf8), parser: parser).count == 3)
    }

    @Test func `an event at the bound of its size is taken and a longer one refused`() throws {
        let parser = EventParser(eventBytesMax: 1000)
        func padded(to count: Int) -> String {
            let empty = Members().with("x", "\"\"").json
            let filling = String(repeating: "x", count: count - empty.utf8.count)
            return Members().with("x", "\"\(filling)\"").json
        }
        let body = "[\(padded(to: 1000)),  \(padded(to: 1001)) , \(good)]"
        let outcomes = try parse(Array(body.utf8), parser: parser)
        #expect(outcomes.map(\.isGood) == [true, false, true])
        #expect(outcomes[1].rejection?.code == .payloadTooLarge)
    }

    @Test func `a parser is as good as new after any body`() throws {
        let parser = EventParser()
        let expected = try parse(good)
        for body in [
            "[", "{\"client_id\":\"\\ud800", "[1,2,3]", String(repeating: good, count: 50),
        ] {
            _ = try? parse(Array(body.utf8), parser: parser)
            _ = try? parse(Array(body.utf8), as: .lines, parser: parser)
            #expect(try parse(Array(good.utf8), parser: parser) == expected)
        }
    }
}
