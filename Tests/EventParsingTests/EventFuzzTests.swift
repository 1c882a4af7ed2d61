import EventParsing
import Fuzzing
import Telemetry
import TestKit
import Testing

struct EventFuzzTests {
    @Test(arguments: 0..<20 as Range<UInt64>)
    func `an event written as JSON is read as the same event`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let parser = EventParser()
        for _ in 0..<100 {
            var event = random.event()
            event.metrics = random.metrics()
            let json = random.json(event)
            let outcomes = try parse(
                Array(json.utf8), as: random.chance(50) ? .json : .lines, parser: parser,
                nowMilliseconds: event.measuredAtMilliseconds)
            #expect(outcomes == [.success(event)], "seed \(seed): \(json)")
        }
    }

    @Test(arguments: 0..<25 as Range<UInt64>)
    func `no body makes the parser trap`(seed: UInt64) {
        var random = SeededGenerator(seed: 1000 + seed)
        let parser = EventParser(eventCountMax: 50, eventBytesMax: 2000)
        // 25 seeds × 8,000 bodies.
        for _ in 0..<8_000 {
            let body = random.body()
            _ = try? parse(body, as: random.chance(50) ? .json : .lines, parser: parser)
        }
    }

    @Test func `no truncation of a good body is accepted or makes the parser trap`() throws {
        let parser = EventParser()
        let escaped = Members().with("client_id", #""\ud83d\ude80é\n\u00e9""#)
            .with("x", "[1.5e10,true,{\"y\":null}]").json
        for body in [Array(escaped.utf8), Array("[\(escaped),\(escaped)]".utf8)] {
            for count in 0..<body.count {
                #expect(throws: EventRejection.self) {
                    try parse(Array(body[..<count]), parser: parser)
                }
                _ = try? parse(Array(body[..<count]), as: .lines, parser: parser)
            }
        }
    }
}
