import AggregatorCore
import Blocks
import Bus
import NATSClient
import OperatorCore
import Postgres
import Store
import Telemetry
import Testing

private let forwarded = "SELECT count(*) FROM dead_letters WHERE forwarded_at IS NOT NULL"

private func headers(_ platform: Platform, _ letter: StoredDeadLetter) throws -> StoredMessage {
    try platform.jetStream.message(
        inStream: BusStream.deadLetters, sequence: try #require(letter.forwardedSequence))
}

@Test func `dead letters reach their stream whole, with all that is known of them`() throws {
    try Platform.run { platform in
        let nonsense = Array(repeating: UInt8(ascii: "x"), count: 10_000)
        let whole = try platform.publish(nonsense, partition: 2)
        let block = try platform.publish([
            event("legacy", 1, at: now()), event("legacy", 2, at: 0),
        ])
        try platform.aggregate(until: forwarded, is: 2)
        let desk = try DeadLetterDesk(database: platform.database, connector: platform.connector)
        let letters = try desk.list(.init(limit: 10))
        #expect(letters.count == 2)

        let first = try #require(letters.first { $0.key.index == -1 })
        #expect(first.key.sequence == whole)
        #expect(first.payload.count == 4096)
        let message = try headers(platform, first)
        #expect(message.subject == "telemetry.dlq.\(first.reason)")
        #expect(message.message.withUnsafePayload { Array($0) } == nonsense)
        #expect(message.message.header("Nats-Msg-Id") == "TELEMETRY_EVENTS/2/\(whole)/-1")
        #expect(message.message.header("Qoe-Stream") == "TELEMETRY_EVENTS")
        #expect(message.message.header("Qoe-Partition") == "2")
        #expect(message.message.header("Qoe-Sequence") == "\(whole)")
        #expect(message.message.header("Qoe-Index") == "-1")
        #expect(message.message.header("Qoe-Reason") == first.reason)
        #expect(message.message.header("Qoe-Truncated") == "false")

        let second = try #require(letters.first { $0.key.index == 1 })
        #expect(second.key.sequence == block)
        #expect(second.reason == "timestamp_out_of_range")
        let copy = try headers(platform, second)
        #expect(copy.message.header("Qoe-Payload") == "event")
        let event = try ValidatedBlock(copy.message.withUnsafePayload { Array($0) })
        #expect(event.withReader { $0.event(0).id } == UniqueID(high: 5, low: 2))
        #expect(event.eventCount == 1)
    }
}

@Test func `a letter published and not marked is published once, one that is gone in part`() throws
{
    try Platform.run { platform in
        let long = try platform.publish(
            Array(repeating: UInt8(ascii: "x"), count: 10_000), partition: 2)
        let short = try platform.publish(Array("short".utf8), partition: 2)
        try platform.aggregate(until: forwarded, is: 2)
        // As after a crash between publishing and marking.
        try platform.database.execute(
            "UPDATE dead_letters SET forwarded_at = NULL WHERE seq = \(short)")
        try platform.aggregate(until: forwarded, is: 2)
        #expect(try platform.jetStream.stream(named: BusStream.deadLetters).messageCount == 2)

        // As when it is forwarded long after: under another name, since the server knows this one.
        try platform.jetStream.purgeStream(named: BusStream.events, below: short + 1)
        try platform.database.execute(
            """
            UPDATE dead_letters SET forwarded_at = NULL, partition = 3
            """)
        try platform.aggregate(until: forwarded, is: 2)
        let desk = try DeadLetterDesk(database: platform.database, connector: platform.connector)
        for letter in try desk.list(.init(limit: 10)) {
            let message = try headers(platform, letter).message
            let isLong = letter.key.sequence == long
            #expect(message.header("Qoe-Truncated") == (isLong ? "true" : "false"))
            #expect(message.payloadByteCount == (isLong ? 4096 : 5))
        }
    }
}

@Test func `what is replayed is counted, once`() throws {
    try Platform.run { platform in
        let partition = try #require(Partitioning(count: 4)).partition(ofClient: "legacy")
        let good = block([event("legacy", 1, at: now())], partition: partition)
        // A block that no reader minded, but that was recorded as a letter: a reader that was at fault.
        let sequence = try platform.publish(good, partition: partition)
        try platform.database.execute(
            """
            INSERT INTO dead_letters (stream, partition, seq, idx, reason, detail, payload, recorded_at)
            VALUES ('TELEMETRY_EVENTS', \(partition), \(sequence), -1, 'crash', '', '', now()),
                ('TELEMETRY_EVENTS', \(partition), \(sequence), 0, 'crash', '', '', now()),
                ('TELEMETRY_EVENTS', \(partition), 999, -1, 'crash', '',
                    convert_to(repeat('x', 4096), 'UTF8'), now())
            """)
        let desk = try DeadLetterDesk(database: platform.database, connector: platform.connector)
        let producer = UniqueID(high: 3, low: 3)
        func letter(_ text: String) throws -> StoredDeadLetter {
            try desk.letter(try #require(DeadLetterKey("TELEMETRY_EVENTS/\(partition)/\(text)")))
        }
        let whole = try desk.prepareReplay(
            of: letter("\(sequence)"), again: false, producer: producer)
        #expect(whole.bytes == good)
        #expect(whole.outlook == nil)
        let replayed = try desk.publish(whole)
        #expect(replayed == sequence + 1)
        #expect(try letter("\(sequence)").replayedSequence == replayed)
        #expect(throws: OperatorError.self) {
            try desk.prepareReplay(
                of: letter("\(sequence)"), again: false, producer: producer)
        }
        _ = try desk.prepareReplay(of: letter("\(sequence)"), again: true, producer: producer)

        let single = try desk.prepareReplay(
            of: letter("\(sequence)/0"), again: false, producer: producer)
        #expect(try ValidatedBlock(single.bytes).withReader { $0.producer } == producer)
        _ = try desk.publish(single)

        let truncated = #expect(throws: OperatorError.self) {
            try desk.prepareReplay(of: letter("999"), again: false, producer: producer)
        }
        #expect(truncated?.description.contains("only the first 4096 bytes are left") == true)
        let unknown = #expect(throws: OperatorError.self) { try letter("5") }
        #expect(unknown?.description.contains("there is no dead letter") == true)

        try platform.aggregate(until: messagesRead, is: 3)
        #expect(try platform.number("SELECT sum(count_total)::bigint FROM agg_1m") == 1)
    }
}

@Test func `names of letters are read as they are written`() {
    for text in ["TELEMETRY_EVENTS/3/1207", "TELEMETRY_EVENTS/3/1207/17"] {
        #expect(DeadLetterKey(text)?.description == text)
    }
    #expect(DeadLetterKey("S/1/2/-1")?.index == -1)
    for text in ["", "S/1", "/1/2", "S/-1/2", "S/1/x", "S/1/2/3/4", "S/1/2/-2", "S/1/2/"] {
        #expect(DeadLetterKey(text) == nil, "\(text)")
    }
}
