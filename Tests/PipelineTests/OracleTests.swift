import TestKit
import Testing

/// The oracle itself, by values worked out by hand.
@Suite struct OracleTests {
    private func event(
        _ number: Int64, measuredAt: Int64 = 60_000, receivedAt: Int64? = 60_100,
        dns: Int64? = nil, stage: String? = nil, network: String? = nil
    ) -> OracleEvent {
        OracleEvent(
            eventID: "e\(number)", client: "c", target: "t", measuredAtMilliseconds: measuredAt,
            receivedAtMilliseconds: receivedAt, millionths: dns.map { [0: $0] } ?? [:],
            errorStage: stage, context: SampleContext(networkType: network),
            numbered: .init(session: "s", number: number))
    }

    private func columns(_ dump: TableDump) -> [String: String] {
        let pairs = dump.rows.values.flatMap { $0.map { ($0.name, $0.description) } }
        return Dictionary(pairs) { first, _ in first }
    }

    @Test func `buckets are 2 percent wide and begin with 0 and 1`() {
        let bounds = BucketBounds.shared
        #expect(bounds.bucket(of: 0) == 0)
        #expect(bounds.bucket(of: 1) == 1)
        #expect(bounds.bucket(of: 2) == 37)
        #expect(bounds.bucket(of: 3) == 57)
        // 1.02^100 = 7.244...
        #expect(bounds.bucket(of: 7) == 100)
        #expect(bounds.bucket(of: 8) == 107)
        #expect(abs(bounds.representative(of: 101) - 2 * 7.244646118252348 / 2.02) < 1e-9)
    }

    @Test func `a minute is what its events say`() {
        let oracle = Oracle([
            event(1, dns: 2_000_000, network: "wifi"),
            event(2, measuredAt: 119_999, receivedAt: 240_001, dns: 1_000_000, stage: "tls"),
            event(4, dns: 3_000_000, stage: "dns"),
        ])
        let minute = columns(oracle.minutes)
        #expect(minute["count_total"] == "3")
        #expect(minute["count_success"] == "1")
        #expect(minute["tls_error_count"] == "1")
        #expect(minute["late_count"] == "1")
        #expect(minute["dns_sum"] == "6000000")
        #expect(minute["dns_min"] == "3ff0000000000000")
        #expect(minute["dns_max"] == "4008000000000000")
        #expect(minute["tcp_sum"] == "NULL")
        // The newest said nothing of its network.
        #expect(minute["network_type"] == "NULL")
        #expect(minute["context_ts_ms"] == "119999")
        #expect(columns(oracle.sessions)["counted_seqs"] == "{[1,3),[4,5)}")
        #expect(Array(oracle.gaps.rows.keys) == ["c|s|3|3"])
    }

    @Test func `one wrong column, a missing row and one too many are told`() throws {
        let expected = Oracle([event(1, dns: 5)]).minutes
        let row = try #require(expected.rows["c|t|1"]).map(\.description)
        try withTemporaryFolder { folder throws in
            let name = "\(folder)/table"
            func isTold(_ found: [String: [String]]) throws -> Bool {
                try !expected.differences(from: found, keptAs: name).isEmpty
            }
            #expect(try isTold(["c|t|1": row]) == false)
            for index in row.indices {
                var wrong = row
                wrong[index] += "0"
                #expect(try isTold(["c|t|1": wrong]), "column \(index)")
            }
            #expect(try isTold([:]))
            #expect(try isTold(["c|t|1": row, "c|t|2": row]))
        }
    }

    @Test func `a restored log counts the copy that was read first, and forgets identifiers only`()
    {
        func message(_ sequence: UInt64, _ events: [OracleEvent]) -> StreamContents.Message {
            .init(sequence: sequence, partition: 0, events: events)
        }
        var plain = event(9)
        plain.numbered = nil
        var history = LogHistory()
        // Sequence 1 and 2 are in the copy, 3 and 4 are counted and gone, 5 was never read.
        history.add(
            [
                message(1, [event(1)]), message(2, [event(2)]),
                message(3, [event(1, receivedAt: 999_000), event(3), plain]),
                message(4, [event(4, receivedAt: 1)]), message(5, [event(5)]),
            ], keeping: 2, committed: [0: 4])
        #expect(history.next == 3)
        history.end(with: [
            message(3, [event(2, receivedAt: 999_000), event(4, receivedAt: 999_000)]),
            message(4, [plain, plain]),
        ])
        let numbers = history.counted.map { $0.numbered?.number ?? 9 }
        #expect(numbers == [1, 2, 3, 9, 4, 9])
        #expect(history.counted.filter { $0.receivedAtMilliseconds == 999_000 }.isEmpty)
        #expect(history.gone.map(\.sequence) == [3, 4])
        #expect(history.messages.map(\.sequence) == [1, 2, 3, 4])
        #expect(history.stored.count == 6)
    }
}
