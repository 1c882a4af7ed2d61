import Bus
import NATSClient
import OperatorCore
import Postgres
import Telemetry
import Testing

/// Traffic of two clients: numbered and not, late, repeated, impossible, and what is no block.
private func publishTraffic(_ platform: Platform, at time: Int64) throws {
    try platform.publish((1...50).map { event("numbered", $0, at: time, number: $0) })
    try platform.publish((40...60).map { event("numbered", $0, at: time, number: $0) })
    try platform.publish([event("numbered", 70, at: time - 3_600_000, number: 70)])
    try platform.publish((1...20).map { event("legacy", $0, at: time) })
    try platform.publish((11...30).map { event("legacy", $0, at: time) })
    try platform.publish([event("legacy", 99, at: 0)])
    try platform.publish(Array("nonsense".utf8), partition: 1)
}

@Test func `what an aggregator counted is equal, and a changed row is found`() throws {
    try Platform.run { platform in
        #expect(throws: OperatorError.self) { try platform.verify() }
        try publishTraffic(platform, at: now())
        try platform.aggregate(until: messagesRead, is: 7)

        let equal = try platform.verify()
        #expect(equal.isEqual, "\(equal.differences)")
        #expect(equal.rows == 3)
        #expect(equal.events == 91)
        #expect(equal.sessions == 1)
        #expect(equal.messages == 7)
        #expect(equal.notCompared.isEmpty)
        let consumers = try platform.jetStream.stream(named: BusStream.events).consumerCount
        #expect(consumers == 0)

        try platform.database.execute(
            """
            UPDATE agg_1m SET count_total = count_total + 1 WHERE client_id = 'legacy';
            UPDATE probe_sessions SET counted_seqs = counted_seqs - '{[3,4)}'::int8multirange;
            UPDATE partition_progress SET events_counted = events_counted + 1 WHERE partition = 1;
            """)
        let different = try platform.verify()
        #expect(
            different.differences.map(\.table) == [
                "agg_1m", "probe_sessions", "partition_progress",
            ])
        #expect(different.differences.allSatisfy { $0.kind == .different && $0.fields.count == 1 })
        #expect(different.differences.first?.fields.first?.stream == "count_total=30")
        #expect(different.differences.first?.fields.first?.table == "count_total=31")
    }
}

@Test func `what the aggregator has not counted yet is no difference`() throws {
    try Platform.run { platform in
        try publishTraffic(platform, at: now())
        try platform.aggregate(until: messagesRead, is: 7)
        try platform.publish([event("numbered", 500, at: now(), number: 500)])
        let report = try platform.verify()
        #expect(report.isEqual)
        #expect(report.messages == 7)
    }
}

@Test func `of a trimmed stream the minutes are compared that are wholly in it`() throws {
    try Platform.run { platform in
        let time = now()
        try publishTraffic(platform, at: time)
        let first = try platform.publish([
            event("numbered", 80, at: time, number: 80),
            event("numbered", 81, at: time + 9 * 60_000, number: 81),
        ])
        try platform.publish([
            event("legacy", 501, at: time + 9 * 60_000)
        ])
        var fresh = event("fresh", 1, at: time + 9 * 60_000, number: 1)
        fresh.sequence?.session = UniqueID(high: 0, low: 8)
        try platform.publish([fresh])
        try platform.aggregate(until: messagesRead, is: 10)
        try platform.jetStream.purgeStream(named: BusStream.events, below: first)

        // Ten minutes from the oldest message on nothing can be compared yet.
        let nothing = try platform.verify()
        #expect(nothing.isEqual, "\(nothing.differences)")
        #expect(nothing.rows == 0)
        #expect(!nothing.notCompared.isEmpty)

        // A stream whose oldest message is older: pretend by rows of a later time.
        try platform.database.execute(
            """
            UPDATE agg_1m SET window_start_ts = window_start_ts + interval '3 minutes'
                WHERE window_start_ts > now() + interval '5 minutes'
            """)
        let moved = try platform.verify()
        #expect(!moved.isEqual)
        #expect(moved.differences.allSatisfy { $0.kind == .unexpected && $0.table == "agg_1m" })
    }
}

@Test func `the last minutes alone can be compared`() throws {
    try Platform.run { platform in
        try publishTraffic(platform, at: now())
        try platform.aggregate(until: messagesRead, is: 7)
        let report = try platform.verify(minutes: 5)
        #expect(report.isEqual, "\(report.differences)")
        #expect(report.rows == 2)
        #expect(report.fromMilliseconds != nil)
    }
}

@Test func `a stream that ends before what the tables hold cannot be compared`() throws {
    try Platform.run { platform in
        try publishTraffic(platform, at: now())
        try platform.aggregate(until: messagesRead, is: 7)
        try platform.jetStream.deleteStream(named: BusStream.events)
        let missing = #expect(throws: OperatorError.self) { try platform.verify() }
        #expect(missing?.description.contains("ingest makes it") == true)
        _ = try ensureStreams(
            StreamSettings(partitioning: Partitioning(count: 4)), on: platform.jetStream)
        let short = #expect(throws: OperatorError.self) { try platform.verify() }
        #expect(short?.description.contains("made anew or restored") == true)
    }
}

@Test func `a message that was set aside is not counted`() throws {
    try Platform.run { platform in
        try publishTraffic(platform, at: now())
        let poison = try platform.publish([event("numbered", 90, at: now(), number: 90)])
        try platform.aggregate(until: messagesRead, is: 8)
        let partition = Partitioning(count: 4)?.partition(ofClient: "numbered") ?? 0
        #expect(try platform.verify().isEqual)
        // As if its reader had crashed on it.
        try platform.database.execute(
            """
            INSERT INTO dead_letters (stream, partition, seq, idx, reason, detail, payload, recorded_at)
            VALUES ('TELEMETRY_EVENTS', \(partition), \(poison), -1, 'crash', '', '', now())
            """)
        let report = try platform.verify()
        #expect(
            report.differences.map(\.table) == ["agg_1m", "probe_sessions", "partition_progress"])
    }
}

@Test func `a request to stop ends a verification`() throws {
    try Platform.run { platform in
        try publishTraffic(platform, at: now())
        try platform.aggregate(until: messagesRead, is: 7)
        let stop = try StopRequest()
        stop.give()
        #expect(throws: Stopped.self) {
            try Verification(
                database: platform.database, connector: platform.connector, stop: stop
            ).run(minutes: nil)
        }
    }
}

@Test func `the place of a time in the stream is found`() throws {
    try Platform.run { platform in
        for number in 1...30 as ClosedRange<UInt64> {
            try platform.publish([event("numbered", number, at: now(), number: number)])
        }
        try platform.jetStream.purgeStream(named: BusStream.events, below: 4)
        let stream = try EventStream(platform.connector)
        let times = try (4...30 as ClosedRange<UInt64>).map { sequence in
            try platform.jetStream.message(inStream: BusStream.events, sequence: sequence)
                .timestampNanoseconds / 1_000_000
        }
        for time in Set(times) {
            let wanted = times.firstIndex { $0 >= time }.map { UInt64($0) + 4 }
            #expect(try stream.sequence(at: time) == wanted)
        }
        #expect(try stream.sequence(at: 0) == 4)
        #expect(try stream.sequence(at: now() + 60_000) == 31)
    }
}
