import Blocks
import LogDecoding
import Postgres
import Recount
import Store
import Telemetry
import TestKit
import Testing
import Windowing

/// 2024-03-01 12:00 UTC.
private let start: Int64 = 1_709_294_400_000
private let one = Partitioning(count: 1) ?? .standard

private let schema = PostgresTemplate { url in
    let connection = try PostgresConnection(to: PostgresConnectionString(url))
    defer { connection.close() }
    _ = try Schema().migrate(connection)
    // Each partition is a dozen files that every test copies.
    try connection.execute(
        """
        DO $$
        DECLARE partition regclass;
        BEGIN
            FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'agg_1m'::regclass
            LOOP
                EXECUTE format('DROP TABLE %s', partition);
            END LOOP;
        END $$;
        SELECT qoe_ensure_partitions('2024-02-29', '2024-03-02');
        """)
}

/// The log of an hour in which everything happens: probes that number and clients that do not, retries at
/// once and much later, late and impossible times, odd names, JSON, and what is neither.
private func randomLog(_ random: inout SeededGenerator) -> [RecountMessage] {
    var messages: [RecountMessage] = []
    var sent: [Event] = []
    var numbers = [UInt64](repeating: 0, count: 4)
    var clock = start
    while messages.count < 250 {
        clock += Int64(random.next() % 20_000)
        var builder = BlockBuilder(
            partition: 0, producer: UniqueID(high: 1, low: 1), byteCountMax: 1 << 20)
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            var event = random.event()
            let session = Int(random.next() % 4)
            event.sequence = nil
            if random.chance(60) {
                numbers[session] += random.chance(10) ? 2 : 1
                event.sequence = SessionSequence(
                    session: UniqueID(high: 9, low: UInt64(session)), number: numbers[session])
                event.clientID = Name("probe-\(session)")
            }
            let age = random.chance(10) ? Int64(random.next() % 7_200_000) : 2000
            event.measuredAtMilliseconds = clock - age
            if random.chance(2) { event.measuredAtMilliseconds = random.chance(50) ? 0 : .max }
            if random.chance(25), let again = sent.randomElement(using: &random) { event = again }
            sent.append(event)
            _ = builder.append(
                event, receivedAtMilliseconds: clock - Int64(random.next() % 5000))
        }
        var payload = builder.seal(blockNumber: UInt64(messages.count + 1))
        if random.chance(3) { payload[payload.count / 2] ^= 1 }
        if random.chance(5) {
            let id = UniqueID.random(using: &random)
            payload = Array(
                #"{"schema_version":1,"event_id":"\#(id)","client_id":"json","target":"t","ts_ms":\#(clock),"timing_measurements":{"dns_ms":1.5,"loss_pct":\#(random.next() % 150)}}"#
                    .utf8)
        }
        messages.append(
            RecountMessage(
                partition: 0, sequence: UInt64(messages.count * 3 + 1),
                // Another leader's clock may be behind.
                brokerMilliseconds: clock - (random.chance(5) ? 700 : 0), payload: payload))
    }
    return messages
}

/// Counts a log as the aggregator does, with a flush now and then.
private func aggregate(
    _ log: [RecountMessage], into store: AggregateStore, _ random: inout SeededGenerator
) throws -> PartitionCounters {
    guard
        case .acquired(let owned) = try store.acquirePartition(
            stream: "EVENTS", partition: 0, owner: "a", nonce: UniqueID(high: 7, low: 7),
            lease: .seconds(60))
    else { throw PostgresError(.unexpectedResult, "the partition is taken") }
    let decoder = MessageDecoder(partitioning: one)
    var state = PartitionState(
        partition: 0, progress: owned.standing.progress,
        newestWindow: owned.standing.newestWindow,
        limits: PartitionState.Limits(cellCountMax: 40, idleMilliseconds: 1000))
    func flush() throws {
        guard let batch = state.makeFlush(caughtUpAtMilliseconds: nil) else { return }
        _ = try store.flush(batch, by: owned.ownership)
        state.confirm(batch)
    }
    for message in log {
        let position = PartitionState.Position(
            sequence: message.sequence, brokerMilliseconds: message.brokerMilliseconds)
        switch decoder.decode(
            message.payload, partition: 0, brokerMilliseconds: message.brokerMilliseconds)
        {
        case .unreadable(let reason, let detail):
            message.payload.withUnsafeBytes {
                state.setAside(reason: reason, detail: detail, payload: $0, at: position)
            }
        case .events(let block, let rejected):
            try block.withReader { reader in
                let resolution = state.resolve(reader, at: position)
                let wanted = state.pendingLoads
                state.install(
                    cells: try store.load(cells: wanted.cells),
                    sessions: try store.load(sessions: wanted.sessions))
                state.apply(reader, resolution, at: position)
            }
            for event in rejected {
                state.reject(
                    index: event.index, reason: event.reason, detail: event.detail, at: position)
            }
        }
        if state.mustFlush || random.chance(10) { try flush() }
    }
    try flush()
    return state.progress.counters
}

@Test(arguments: 1...8 as ClosedRange<UInt64>)
func `the recount of a random log is the tables, byte for byte`(seed: UInt64) throws {
    try withPostgres(template: schema) { url in
        var random = SeededGenerator(seed: seed)
        let log = randomLog(&random)
        let connection = try PostgresConnection(to: PostgresConnectionString(url))
        let counters = try aggregate(log, into: AggregateStore(connection), &random)

        let recount = Recount(partitioning: one)
        for message in log { recount.read(message) }
        let recounted = recount.counters[0] ?? RecountCounters()
        #expect(recounted.messages == counters.messages, "seed \(seed)")
        #expect(recounted.deadLetters == counters.deadLetters, "seed \(seed)")
        #expect(recounted.events == counters.events, "seed \(seed)")
        #expect(recounted.counted == counters.counted, "seed \(seed)")
        #expect(recounted.duplicates == counters.duplicates, "seed \(seed)")
        #expect(recounted.rejected == counters.rejected, "seed \(seed)")
        #expect(recounted.late == counters.late, "seed \(seed)")
        // Every kind of thing has happened.
        for count in [
            recounted.deadLetters, recounted.counted, recounted.duplicates, recounted.rejected,
            recounted.late,
        ] { #expect(count > 0, "seed \(seed)") }

        let stored = StoredRows(connection)
        let cells = try stored.cells()
        let sessions = try stored.sessions()
        let cellDifferences = RowDifference.between(recounted: recount.cellRows(), stored: cells)
        #expect(cellDifferences.isEmpty, "seed \(seed)")
        let sessionDifferences = RowDifference.between(
            recounted: recount.sessionRows(), stored: sessions)
        #expect(sessionDifferences.isEmpty, "seed \(seed)")
        #expect(cells.map(\.line) == recount.cellRows().map(\.line), "seed \(seed)")
        #expect(sessions.map(\.line) == recount.sessionRows().map(\.line), "seed \(seed)")
    }
}

@Test func `a changed row is found, and its fields are named`() throws {
    try withPostgres(template: schema) { url in
        var random = SeededGenerator(seed: 5)
        let log = randomLog(&random)
        let connection = try PostgresConnection(to: PostgresConnectionString(url))
        _ = try aggregate(log, into: AggregateStore(connection), &random)
        let recount = Recount(partitioning: one)
        for message in log { recount.read(message) }
        try connection.execute(
            """
            UPDATE agg_1m SET count_total = count_total + 1, dns_max = dns_max * 1.0000000001
                WHERE (client_id, target, window_start_ts) = (SELECT client_id, target, window_start_ts
                    FROM agg_1m WHERE dns_max > 0 LIMIT 1);
            DELETE FROM probe_sessions WHERE session_id = (SELECT min(session_id::text)::uuid
                FROM probe_sessions);
            """)
        let stored = StoredRows(connection)
        let cells = RowDifference.between(
            recounted: recount.cellRows(), stored: try stored.cells())
        #expect(cells.count == 1)
        let names = cells.first?.fields.compactMap { $0.stored?.prefix { $0 != "=" } }
        #expect(names == ["count_total", "dns"])
        let sessions = RowDifference.between(
            recounted: recount.sessionRows(), stored: try stored.sessions())
        #expect(sessions.count == 1)
        guard case .missing = sessions.first else {
            Issue.record("\(sessions)")
            return
        }
    }
}
