@_spi(_Unicode) import Swift
import EventParsing
import Telemetry
import Testing

private let good = Members()

/// The text as a JSON string, with only what must be escaped in escapes.
private func plain(_ text: String) -> String {
    var json = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"", "\\": json += "\\" + String(scalar)
        case ..<" ": json += escape(UInt16(scalar.value))
        default: json.unicodeScalars.append(scalar)
        }
    }
    return "\"" + json + "\""
}

/// The text as a JSON string of nothing but escapes.
private func escaped(_ text: String) -> String {
    "\"" + text.utf16.map(escape).joined() + "\""
}

private func escape(_ unit: UInt16) -> String {
    let digits = String(unit, radix: 16)
    return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
}

private func bytes(_ name: Name?) -> [UInt8]? { (name?.text.utf8).map { Array($0) } }

private func composed(_ text: String) -> String {
    var scalars = String.UnicodeScalarView()
    for scalar in text._nfc { scalars.append(scalar) }
    return String(scalars)
}

/// Names are kept in Normalization Form C (UAX 15), whatever else is in them.
struct NameTests {
    private let parser = EventParser()

    private func event(_ members: Members) throws -> Event {
        try #require(try parse(Array(members.json.utf8), parser: parser).first).get()
    }

    /// Posts a text as every name there is, in both spellings of JSON, and expects `kept` of all.
    private func expect(_ posted: String, isKeptAs kept: String) throws {
        for json in [plain(posted), escaped(posted)] {
            var members = good.with("client_id", json).with("target", json)
            let fitsContext = kept.utf8.count <= EventLimits.contextBytesMax
            if fitsContext {
                members = members.with(
                    "network_context", #"{"isp":\#(json),"region":\#(json),"resolver":\#(json)}"#)
            }
            let event = try event(members)
            #expect(bytes(event.clientID) == Array(kept.utf8))
            #expect(bytes(event.target) == Array(kept.utf8))
            guard fitsContext else { continue }
            #expect(bytes(event.context.isp) == Array(kept.utf8))
            #expect(bytes(event.context.region) == Array(kept.utf8))
            #expect(bytes(event.context.resolver) == Array(kept.utf8))
        }
    }

    @Test func `there are enough names`() {
        #expect(namesKept.count + namesComposed.count + namesRefused.count >= 150)
    }

    @Test(arguments: namesKept)
    func `a name keeps its bytes`(_ name: String) throws {
        try expect(name, isKeptAs: name)
    }

    @Test(arguments: namesComposed)
    func `a name is kept in its composed form`(_ posted: String, _ kept: String) throws {
        try expect(posted, isKeptAs: kept)
        try expect(kept, isKeptAs: kept)
    }

    @Test(arguments: namesRefused)
    func `a name is refused with its field`(_ name: String) throws {
        for field in ["client_id", "target"] {
            for json in [plain(name), escaped(name)] {
                let bad = good.with(field, json).json
                let outcomes = try parse("[\(good.json),\(bad),\(good.json)]")
                #expect(outcomes.map(\.isGood) == [true, false, true])
                #expect(outcomes[1].rejection?.code == .invalidRequest)
                #expect(outcomes[1].rejection?.field == field)
            }
        }
    }

    @Test func `the poster's scope is asked for the composed name`() throws {
        var asked: [[UInt8]] = []
        let json = good.with("client_id", "\"e\u{301}\"").json
        _ = try parse(
            Array(json.utf8),
            mayPost: {
                asked.append(Array($0)); return true
            })
        #expect(asked == [[0xC3, 0xA9]])
    }

    @Test func `names of many events stay apart until the next body`() throws {
        let count = 500
        let names = (0..<count).map { "e\u{301}-\($0)-\u{1100}\u{1161}" }
        let bodies = names.map { good.with("client_id", plain($0)).with("target", plain($0)).json }
        let outcomes = try parse(
            Array("[\(bodies.joined(separator: ","))]".utf8), parser: parser)
        for (index, outcome) in outcomes.enumerated() {
            let event = try outcome.get()
            #expect(bytes(event.clientID) == Array("\u{E9}-\(index)-\u{AC00}".utf8))
            #expect(bytes(event.target) == bytes(event.clientID))
        }
        #expect(outcomes.count == count)
    }

    /// Without bounds each of these would take seconds, by the square of its length.
    @Test func `texts of nothing but accents are refused before they cost anything`() throws {
        let marks = plain(String(repeating: "\u{315}\u{300}\u{5AE}", count: 10_000))
        for (members, field) in [
            (good.with("client_id", marks), "client_id"), (good.with("target", marks), "target"),
            (good.with("error_stage", marks), "error_stage"),
            (good.with("event_id", marks), "event_id"),
            (good.with("network_context", "{\"isp\":\(marks)}"), "network_context.isp"),
        ] {
            let texts = Array(repeating: members.json, count: 20)
            let outcomes = try parse("[" + texts.joined(separator: ",") + "]")
            #expect(outcomes.allSatisfy { $0.rejection?.field == field })
        }
        let unknown = try parse(
            good.with(String(marks.dropFirst().dropLast()), "1").with("x", marks).json)
        #expect(unknown.map(\.isGood) == [true])
    }

    /// Leading bytes alone decide for most names, so each character behind them must be one that neither
    /// changes nor combines with what is before it.
    @Test func `the quick answer is right for every character`() throws {
        let scalars = (0...0x10FFFF as ClosedRange<UInt32>).compactMap { Unicode.Scalar($0) }
        var later: Set<Unicode.Scalar> = []
        var longest = 0
        for scalar in scalars {
            let parts = Array(String(scalar)._nfd)
            later.formUnion(parts.dropFirst())
            let length = parts.reduce(0) { $0 + UTF8.width($1) }
            longest = max(longest, (length + UTF8.width(scalar) - 1) / UTF8.width(scalar))
        }
        #expect(longest <= 4)
        for scalar in scalars {
            guard let lead = UTF8.encode(scalar)?.first else { continue }
            switch lead {
            case ..<0xCC, 0xD0, 0xD1, 0xE4...0xE9:
                let text = String(scalar)
                #expect(Array(composed(text).unicodeScalars) == [scalar])
                #expect(!later.contains(scalar))
                #expect(scalar.properties.canonicalCombiningClass == .notReordered)
            default: continue
            }
        }
    }
}
