/// The tables as they must be, from events of which each counts once: plain dictionaries and exact arithmetic, none
/// of the platform's code.
struct Oracle {
    let minutes: TableDump
    let sessions: TableDump
    let gaps: TableDump

    private struct Minute {
        var events: [OracleEvent] = []
    }

    private struct Session {
        var numbers: Set<Int64> = []
        var first: Int64 = .max
        var last: Int64 = .min
    }

    init(_ events: [OracleEvent]) {
        var minutes: [String: [OracleEvent]] = [:]
        var sessions: [String: Session] = [:]
        for event in events {
            let minute = event.measuredAtMilliseconds / 60_000
            minutes["\(event.client)|\(event.target)|\(minute)", default: []].append(event)
            guard let numbered = event.numbered else { continue }
            var session = sessions["\(event.client)|\(numbered.session)"] ?? Session()
            session.numbers.insert(numbered.number)
            session.first = min(session.first, event.measuredAtMilliseconds)
            session.last = max(session.last, event.measuredAtMilliseconds)
            sessions["\(event.client)|\(numbered.session)"] = session
        }
        self.minutes = TableDump(rows: minutes.mapValues(Self.columns))
        var sessionRows: [String: [TableDump.Column]] = [:]
        var gapRows: [String: [TableDump.Column]] = [:]
        for (key, session) in sessions {
            let ranges = Self.ranges(session.numbers)
            let multirange = ranges.map { "[\($0.first),\($0.last + 1))" }.joined(separator: ",")
            sessionRows[key] = [
                .text("counted_seqs", "{\(multirange)}"),
                .text("events", "\(session.numbers.count)"),
                .text("first_ts", "\(session.first)"), .text("last_ts", "\(session.last)"),
            ]
            var next: Int64 = 1
            for range in ranges {
                if range.first > next {
                    gapRows["\(key)|\(next)|\(range.first - 1)"] = [
                        .text("missing", "\(range.first - next)"),
                        .text("last_ts", "\(session.last)"),
                    ]
                }
                next = range.last + 1
            }
        }
        self.sessions = TableDump(rows: sessionRows)
        gaps = TableDump(rows: gapRows)
    }

    private static func ranges(_ numbers: Set<Int64>) -> [(first: Int64, last: Int64)] {
        var ranges: [(first: Int64, last: Int64)] = []
        for number in numbers.sorted() {
            if let last = ranges.last, last.last + 1 == number {
                ranges[ranges.count - 1].last = number
            } else {
                ranges.append((number, number))
            }
        }
        return ranges
    }

    private static func columns(_ events: [OracleEvent]) -> [TableDump.Column] {
        let failed = events.filter { $0.errorStage != nil }
        var columns: [TableDump.Column] = [
            .text("count_total", "\(events.count)"),
            .text("count_success", "\(events.count - failed.count)"),
            .text("count_error", "\(failed.count)"),
        ]
        for stage in Sample.stages {
            let count = failed.filter { $0.errorStage == stage }.count
            columns.append(.text("\(stage)_error_count", "\(count)"))
        }
        columns.append(lateCount(events))
        for (index, metric) in Sample.metrics.enumerated() {
            columns += Self.columns(metric, events.compactMap { $0.millionths[index] }.sorted())
        }
        guard let newest = events.max(by: isBefore) else { return columns }
        let context = newest.context
        let texts = [
            ("network_type", context.networkType), ("isp", context.isp),
            ("asn", context.asn.map(String.init)), ("region", context.region),
            ("source_ip", context.sourceIP), ("resolver", context.resolver),
            ("context_ts_ms", String(newest.measuredAtMilliseconds)),
        ]
        return columns + texts.map { .text($0, $1 ?? "NULL") }
    }

    /// Received more than two minutes after the minute's end.
    private static func lateCount(_ events: [OracleEvent]) -> TableDump.Column {
        var late = 0
        for event in events {
            guard let received = event.receivedAtMilliseconds else { return .any("late_count") }
            let end = (event.measuredAtMilliseconds / 60_000 + 1) * 60_000
            if received > end + 120_000 { late += 1 }
        }
        return .text("late_count", "\(late)")
    }

    /// - Parameter values: Ascending.
    private static func columns(_ metric: String, _ values: [Int64]) -> [TableDump.Column] {
        guard let smallest = values.first, let largest = values.last else {
            return [.text("\(metric)_count", "0")]
                + ["sum", "min", "max", "sketch", "p50", "p95", "p99"].map {
                    .text("\(metric)_\($0)", "NULL")
                }
        }
        var counts: [Int: Int] = [:]
        for value in values { counts[BucketBounds.shared.bucket(of: value), default: 0] += 1 }
        let bins = counts.sorted { $0.key < $1.key }.map { "\($0.key << 40 | $0.value)" }
        var columns: [TableDump.Column] = [
            .text("\(metric)_count", "\(values.count)"),
            .text("\(metric)_sum", "\(values.reduce(0, +))"),
            .text("\(metric)_min", bits(Double(smallest) / 1_000_000)),
            .text("\(metric)_max", bits(Double(largest) / 1_000_000)),
            .text("\(metric)_sketch", "{\(bins.joined(separator: ","))}"),
        ]
        for percent in [50, 95, 99] {
            // The value of rank ceil(percent / 100 * n), by its bucket, never outside of the extremes.
            let exact = values[(percent * values.count + 99) / 100 - 1]
            let bucket = BucketBounds.shared.bucket(of: exact)
            let estimate = BucketBounds.shared.representative(of: bucket)
            let clamped = min(max(estimate, Double(smallest)), Double(largest))
            columns.append(.close("\(metric)_p\(percent)", clamped / 1_000_000))
        }
        return columns
    }

    /// A double as PostgreSQL's `float8send` has it.
    private static func bits(_ value: Double) -> String {
        let digits = String(value.bitPattern, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// By time, then by what the context says, absent first, compared byte by byte.
    private static func isBefore(_ a: OracleEvent, _ b: OracleEvent) -> Bool {
        if a.measuredAtMilliseconds != b.measuredAtMilliseconds {
            return a.measuredAtMilliseconds < b.measuredAtMilliseconds
        }
        func rank(_ context: SampleContext) -> [[UInt8]] {
            let texts = [
                context.networkType, context.isp, context.region, context.resolver,
                context.sourceIP,
            ]
            let number = context.asn.map { asn in
                (0..<8).map { UInt8(truncatingIfNeeded: asn >> (56 - 8 * $0)) }
            }
            return texts.map { $0.map { [1] + Array($0.utf8) } ?? [] }
                + [number.map { [1] + $0 } ?? []]
        }
        for (left, right) in zip(rank(a.context), rank(b.context)) where left != right {
            return left.lexicographicallyPrecedes(right)
        }
        return false
    }
}

/// The same tables asked for in SQL: a key, then one text for each column, in the order of ``Oracle``.
enum OracleQueries {
    static let minutes: String = {
        var columns =
            ["count_total", "count_success", "count_error"]
            + Sample.stages.map { "\($0)_error_count" } + ["late_count"]
        for metric in Sample.metrics {
            columns += [
                "\(metric)_count", "\(metric)_sum",
                "encode(float8send(\(metric)_min), 'hex')",
                "encode(float8send(\(metric)_max), 'hex')", "\(metric)_sketch",
            ]
            columns += ["p50", "p95", "p99"].map { "\(metric)_\($0)" }
        }
        columns += [
            "network_type", "isp", "asn", "region", "source_ip", "resolver", "context_ts_ms",
        ]
        return """
            SELECT client_id || '|' || target || '|'
                || (extract(epoch FROM window_start_ts)::bigint / 60),
                ARRAY[\(columns.map { "coalesce((\($0))::text, 'NULL')" }.joined(separator: ", "))]
            FROM agg_1m
            """
    }()

    static let sessions = """
        SELECT client_id || '|' || session_id, ARRAY[counted_seqs::text, events::text,
            (extract(epoch FROM first_ts) * 1000)::bigint::text,
            (extract(epoch FROM last_ts) * 1000)::bigint::text]
        FROM probe_sessions
        """

    static let gaps = """
        SELECT concat_ws('|', client_id, session_id, first_missing_seq, last_missing_seq),
            ARRAY[missing_count::text, (extract(epoch FROM last_ts) * 1000)::bigint::text]
        FROM probe_gaps
        """
}
