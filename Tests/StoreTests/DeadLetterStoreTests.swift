import Postgres
import Store
import Testing

@Suite struct DeadLetterStoreTests {
    private func insert(_ count: Int, _ connection: PostgresConnection) throws {
        try connection.execute(
            """
            INSERT INTO dead_letters (stream, partition, seq, idx, reason, detail, payload, recorded_at)
            SELECT 'EVENTS', 3, n, -1, 'not_a_block', 'n ' || n, 'abc', now() - n * interval '1 s'
            FROM generate_series(1, \(count)) AS n
            """)
    }

    @Test func `letters that one instance forwards are skipped by another`() throws {
        try withSchema { url in
            let connection = try connect(url)
            try insert(5, connection)
            let first = DeadLetterStore(connection)
            let second = DeadLetterStore(try connect(url))
            var seen: [[UInt64]] = []
            let outcome = try first.forward(limit: 3) { letters in
                seen.append(letters.map(\.key.sequence))
                _ = try? second.forward(limit: 10) { others in
                    seen.append(others.map(\.key.sequence))
                    return [:]
                }
                return Dictionary(letters.map { ($0.key, 100 + $0.key.sequence) }) { a, _ in a }
            }
            // The oldest first.
            #expect(seen == [[5, 4, 3], [2, 1]])
            #expect(outcome.forwarded == 3)
            #expect(outcome.waiting == 2)
            let forwarded = try first.list(.init(limit: 10)).filter { $0.forwardedAt != nil }
            #expect(forwarded.compactMap(\.forwardedSequence) == [103, 104, 105])
        }
    }

    @Test func `a letter that was not published goes on waiting`() throws {
        try withSchema { url in
            let connection = try connect(url)
            try insert(2, connection)
            let store = DeadLetterStore(connection)
            let none = try store.forward(limit: 10) { _ in [:] }
            #expect(none.forwarded == 0)
            #expect(none.waiting == 2)
            // The connection is gone between publishing and marking.
            #expect(throws: PostgresError.self) {
                try store.forward(limit: 10) { letters in
                    connection.close()
                    return Dictionary(letters.map { ($0.key, 1) }) { a, _ in a }
                }
            }
            let after = try DeadLetterStore(try connect(url)).list(.init(limit: 10))
            #expect(after.allSatisfy { $0.forwardedAt == nil })
        }
    }

    @Test func `letters are found by what is asked for, and marked`() throws {
        try withSchema { url in
            let connection = try connect(url)
            try insert(100, connection)
            let store = DeadLetterStore(connection)
            #expect(try store.list(.init(sinceSeconds: 10, limit: 100)).count < 12)
            #expect(try store.list(.init(reason: "other", limit: 100)).isEmpty)
            #expect(
                try store.list(.init(partition: 3, limit: 7)).map(\.key.sequence) == [
                    1, 2, 3, 4, 5, 6, 7,
                ])
            let key = DeadLetterKey(stream: "EVENTS", partition: 3, sequence: 9, index: -1)
            #expect(try store.letter(key)?.replayedAt == nil)
            try store.markReplayed(key, sequence: 77)
            #expect(try store.letter(key)?.replayedSequence == 77)
            #expect(
                try store.letter(.init(stream: "E", partition: 3, sequence: 9, index: 0)) == nil)
        }
    }
}
