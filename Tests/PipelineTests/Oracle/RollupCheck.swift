import Glibc
import TestKit

/// Whether hours and days say the same as the minutes, which the oracle has judged.
struct RollupCheck {
    private let pipeline: Pipeline
    /// A housekeeper that has lost its connection tries again after half a minute, and rests between rollups.
    private static let limit = Duration.seconds(180)
    private static let pollMicroseconds: UInt32 = 200_000

    init(_ pipeline: Pipeline) {
        self.pipeline = pipeline
    }

    /// What differs once the aggregators have made everything that waited.
    func differences() throws -> [String] {
        let isEmpty = eventually(within: Self.limit) {
            usleep(Self.pollMicroseconds)
            let waiting = try? pipeline.postgres.table(
                "SELECT 'waiting', ARRAY[count(*)::text] FROM rollup_queue")
            return waiting?["waiting"] == ["0"]
        }
        guard isEmpty else { return ["rollup_queue: not empty long after the last event"] }
        var found: [String] = []
        for (table, unit, keys, condition) in [
            ("agg_1h", "hour", "client_id, target", "true"),
            ("agg_1d", "day", "client_id, target", "true"),
            ("agg_dim_1h", "hour", "target", "dimension = 'target'"),
            ("agg_dim_1d", "day", "isp", "dimension = 'isp'"),
        ] {
            let differing = try pipeline.postgres.table(
                Self.comparison(table, unit: unit, keys: keys, where: condition))
            if !differing.isEmpty {
                let some = differing.sorted { $0.key < $1.key }.prefix(5).map {
                    "\($0.key): \($0.value)"
                }
                found.append("\(table): \(differing.count) rows differ, such as \(some)")
            }
        }
        return found
    }

    /// The rows of only one of the two, each under its key.
    private static func comparison(
        _ table: String, unit: String, keys: String, where condition: String
    ) -> String {
        let columns =
            ["count_total", "count_error", "late_count", "minute_count"]
            + Sample.metrics.map { "\($0)_count" }
        let sums = columns.map {
            $0 == "minute_count" ? "count(*)::text" : "sum(\($0))::bigint::text"
        }
        return """
            WITH minutes AS (
                SELECT concat_ws('|', \(keys), date_trunc('\(unit)', window_start_ts, 'UTC')) AS key,
                    ARRAY[\(sums.joined(separator: ", "))] AS counts,
                    (SELECT array_agg(e ORDER BY e) FROM unnest(qoe_sketch_merge(ttfb_sketch)) AS e)
                        AS sketch
                FROM agg_1m GROUP BY 1
            ), made AS (
                SELECT concat_ws('|', \(keys), window_start_ts) AS key,
                    ARRAY[\(columns.map { "\($0)::text" }.joined(separator: ", "))] AS counts,
                    ttfb_sketch AS sketch
                FROM \(table) WHERE \(condition)
            )
            SELECT 'made ' || key, counts FROM (TABLE made EXCEPT TABLE minutes) AS d
            UNION ALL
            SELECT 'minutes ' || key, counts FROM (TABLE minutes EXCEPT TABLE made) AS d
            """
    }
}
