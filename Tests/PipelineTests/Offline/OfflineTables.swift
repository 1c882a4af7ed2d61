import Foundation
import Telemetry

/// What the tables say of one probe.
struct OfflineTables {
    struct Session {
        let counted: [ClosedRange<UInt64>]
        let events: UInt64
        let duplicates: UInt64
        /// Unix milliseconds.
        let firstTime: Int64
        let lastTime: Int64

        var count: UInt64 { counted.reduce(0) { $0 + UInt64($1.count) } }
    }

    private(set) var sessions: [UniqueID: Session] = [:]
    /// As `session first last`.
    private(set) var gaps: Set<String> = []
    /// Minutes since 1970 to events of all targets.
    private(set) var minutes: [Int64: UInt64] = [:]
    let deadLetters: [String]

    init(_ postgres: PostgresPair, client: String) throws {
        let sessionRows = try postgres.table(
            """
            SELECT session_id::text, ARRAY[counted_seqs::text, events::text, duplicates::text,
                coalesce(floor(extract(epoch FROM first_ts) * 1000)::bigint, 0)::text,
                coalesce(floor(extract(epoch FROM last_ts) * 1000)::bigint, 0)::text]
            FROM probe_sessions WHERE client_id = '\(client)'
            """)
        for (name, columns) in sessionRows {
            guard let session = UniqueID(name) else { continue }
            sessions[session] = Session(
                counted: Self.ranges(columns[0]), events: UInt64(columns[1]) ?? 0,
                duplicates: UInt64(columns[2]) ?? 0, firstTime: Int64(columns[3]) ?? 0,
                lastTime: Int64(columns[4]) ?? 0)
        }
        gaps = Set(
            try postgres.table(
                """
                SELECT concat_ws(' ', session_id, first_missing_seq, last_missing_seq), '{}'::text[]
                FROM probe_gaps WHERE client_id = '\(client)'
                """
            ).keys)
        let minuteRows = try postgres.table(
            """
            SELECT floor(extract(epoch FROM window_start_ts) / 60)::bigint::text,
                ARRAY[sum(count_total)::text]
            FROM agg_1m WHERE client_id = '\(client)' GROUP BY window_start_ts
            """)
        for (minute, columns) in minuteRows {
            guard let minute = Int64(minute) else { continue }
            minutes[minute] = UInt64(columns[0]) ?? 0
        }
        deadLetters = try postgres.table(
            """
            SELECT partition || '/' || seq || '/' || idx, ARRAY[reason || ': ' || detail]
            FROM dead_letters
            """
        ).map { "dead letter \($0.key): \($0.value.joined())" }
    }

    /// A multirange such as `{[1,5),[7,8)}`.
    private static func ranges(_ text: String) -> [ClosedRange<UInt64>] {
        text.split { "{}[)".contains($0) }.compactMap { piece in
            let bounds = piece.split(separator: ",").compactMap { UInt64($0) }
            guard bounds.count == 2, bounds[0] < bounds[1] else { return nil }
            return bounds[0]...bounds[1] - 1
        }
    }
}
