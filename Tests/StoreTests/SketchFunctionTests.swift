import Glibc
import Postgres
import Sketches
import Telemetry
import TestKit
import Testing
import Windowing

@testable import Store

/// Values in millionths of a unit, by kind.
private enum Distribution: String, CaseIterable {
    case pareto, constant, single, zeros, mixture, tiny

    /// The shape of the Pareto distribution: below 2, so its variance is infinite.
    private static let shape = 1.1
    /// The largest value that a metric has.
    private static let largest = 3_600_000_000_000.0

    func values(_ random: inout SeededGenerator) -> [UInt64] {
        func heavy() -> UInt64 {
            let uniform = Double.random(in: 1e-9...1, using: &random)
            return UInt64(min(Self.largest, 1e6 * pow(uniform, -1 / Self.shape)))
        }
        switch self {
        case .pareto: return (0..<20_000).map { _ in heavy() }
        case .constant: return Array(repeating: 42_000_000, count: 3000)
        case .single: return [123_456_789]
        case .zeros: return Array(repeating: 0, count: 500)
        case .mixture:
            return (0..<10_000).map { index in
                switch index % 4 {
                case 0: 0
                case 1: 20_000_000 + UInt64.random(in: 0..<1000, using: &random)
                default: heavy()
                }
            }
        case .tiny: return (0..<2000).map { _ in UInt64.random(in: 0...40, using: &random) }
        }
    }
}

private func sketch(of values: some Sequence<UInt64>) -> QuantileSketch {
    var sketch = QuantileSketch()
    for value in values { sketch.insert(MetricValue(millionths: value)) }
    return sketch
}

/// An array as SQL has it; NULL when there is nothing.
private func sql(_ sketch: QuantileSketch) -> String {
    sketch.isEmpty ? "NULL::bigint[]" : sql(sketch.elements)
}

private func sql(_ elements: [UInt64]) -> String {
    "'{\(elements.map(String.init).joined(separator: ","))}'::bigint[]"
}

/// Makes the table `parts` of the sketches.
private func store(_ sketches: [QuantileSketch], _ connection: PostgresConnection) throws {
    try connection.execute("CREATE TABLE parts (id integer, sketch bigint[])")
    let rows = sketches.enumerated().map { "(\($0.offset), \(sql($0.element)))" }
    try connection.execute("INSERT INTO parts VALUES \(rows.joined(separator: ","))")
}

private func elements(_ connection: PostgresConnection, _ sql: String) throws -> [UInt64]? {
    var row = try #require(try connection.query(sql).first)
    return try row.nextOptionalArray(of: Int64.self)?.map { UInt64(bitPattern: $0) }
}

private func double(_ connection: PostgresConnection, _ sql: String) throws -> Double? {
    var row = try #require(try connection.query(sql).first)
    return try row.nextOptional(Double.self)
}

private func integer(_ connection: PostgresConnection, _ sql: String) throws -> Int64? {
    var row = try #require(try connection.query(sql).first)
    return try row.nextOptional(Int64.self)
}

private let quantiles = [0, 0.001, 0.5, 0.95, 0.99, 0.999, 1]

@Suite struct SketchQuantileTests {
    @Test func `every bucket stands for what the programs say, to the bit`() throws {
        try withSchema { url in
            let result = try connect(url).query("SELECT unnest(qoe_sketch_values())")
            let values = try result.rows.map { row in
                var row = row
                return try row.next(Double.self)
            }
            let mapping = BucketMapping.shared
            #expect(values == (0..<mapping.bucketCount).map { mapping.representative(of: $0) })
        }
    }

    @Test(arguments: Distribution.allCases)
    private func `quantiles of merged rows are within 1 % and what the programs say`(
        distribution: Distribution
    ) throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        print("seed \(seed), \(distribution)")
        var random = SeededGenerator(seed: seed)
        let values = distribution.values(&random)
        var parts = Array(repeating: QuantileSketch(), count: 300)
        for value in values {
            parts[Int.random(in: 0..<parts.count, using: &random)]
                .insert(MetricValue(millionths: value))
        }
        let whole = sketch(of: values)
        let sorted = values.sorted()
        try withSchema { url in
            let connection = try connect(url)
            try store(parts, connection)
            try connection.execute(
                "CREATE TABLE merged AS SELECT qoe_sketch_merge(sketch) AS sketch FROM parts")
            #expect(try elements(connection, "SELECT sketch FROM merged") == whole.elements)
            let count = try integer(connection, "SELECT qoe_sketch_count(sketch) FROM merged")
            #expect(count == Int64(values.count))
            for q in quantiles {
                let estimate = try #require(
                    try double(connection, "SELECT qoe_sketch_quantile(sketch, \(q)) FROM merged"))
                let ours = try #require(whole.quantile(q))
                #expect(estimate == ours / MetricValue.scale, "\(q)")
                let rank = max(1, Int((q * Double(values.count)).rounded(.up)))
                let exact = Double(sorted[rank - 1]) / MetricValue.scale
                #expect(abs(estimate - exact) <= exact * 0.01, "\(q): \(estimate), not \(exact)")
            }
            let list = "ARRAY[\(quantiles.map { "\($0)" }.joined(separator: ","))]"
            let together = """
                SELECT qoe_sketch_quantiles(sketch, \(list)) = ARRAY(
                    SELECT qoe_sketch_quantile(sketch, q) FROM unnest(\(list)) q) FROM merged
                """
            #expect(try single(connection, together, Bool.self))
        }
    }

    @Test func `stored percentiles are those of the stored sketches`() throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        try withOwnedPartition { store, ownership, url in
            let cells = (Int64(0)..<20).map { minute in
                CellRow(
                    key: key("c", minute: minute), cell: randomCell(&random, events: 30),
                    lastSequence: 1)
            }
            _ = try store.flush(batch(from: 0, to: 1, cells: cells), by: ownership)
            let connection = try connect(url)
            for metric in Metric.allCases.map(\.sqlName) {
                let differing = """
                    SELECT count(*) FROM agg_1m WHERE ARRAY[\(metric)_p50, \(metric)_p95,
                        \(metric)_p99, \(metric)_count] IS DISTINCT FROM ARRAY[
                        qoe_sketch_quantile(\(metric)_sketch, 0.5, \(metric)_min, \(metric)_max),
                        qoe_sketch_quantile(\(metric)_sketch, 0.95, \(metric)_min, \(metric)_max),
                        qoe_sketch_quantile(\(metric)_sketch, 0.99, \(metric)_min, \(metric)_max),
                        coalesce(qoe_sketch_count(\(metric)_sketch), 0)]
                    """
                #expect(try integer(connection, differing) == 0, "\(metric)")
            }
        }
    }

    @Test func `shares below a threshold and Apdex count whole buckets`() throws {
        try withSchema { url in
            let connection = try connect(url)
            // Milliseconds: 0, 10 to 90 by ten.
            let stored = sql(sketch(of: (0..<10).map { UInt64($0) * 10_000_000 }))
            func fraction(_ threshold: String) throws -> Double? {
                try double(connection, "SELECT qoe_sketch_fraction_below(\(stored), \(threshold))")
            }
            #expect(try fraction("-1") == 0)
            #expect(try fraction("0") == 0.1)
            #expect(try fraction("9.8") == 0.1)
            #expect(try fraction("10.2") == 0.2)
            #expect(try fraction("55") == 0.6)
            #expect(try fraction("1000") == 1)
            #expect(try fraction("'Infinity'") == 1)
            // A quantile is a threshold below which its share is.
            #expect(try fraction("qoe_sketch_quantile(\(stored), 0.7)") == 0.7)
            // Satisfied: 0 and 10; tolerating: 20, 30 and 40; frustrated: the other five.
            #expect(try double(connection, "SELECT qoe_apdex(\(stored), 12)") == 0.35)
        }
    }
}

@Suite struct SketchMergeTests {
    @Test func `any order and grouping makes the same array`() throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        var parts: [QuantileSketch] = []
        var whole = QuantileSketch()
        // Enough elements to be compacted many times, some sketches empty, some large.
        for index in 0..<3000 {
            let size = index % 100 == 0 ? 400 : Int.random(in: 0..<12, using: &random)
            let part = sketch(
                of: (0..<size).map { _ in
                    UInt64.random(
                        in: 0...(1 << UInt64.random(in: 0..<42, using: &random)), using: &random)
                })
            whole.merge(part)
            parts.append(part)
        }
        try withSchema { url in
            let connection = try connect(url)
            try store(parts, connection)
            let orders = ["id", "id DESC", "md5(id::text)", "cardinality(sketch), id"]
            for order in orders {
                let merged = try elements(
                    connection, "SELECT qoe_sketch_merge(sketch ORDER BY \(order)) FROM parts")
                #expect(merged == whole.elements, "\(order)")
            }
            for groups in [1, 2, 7, 100, 2999] {
                let merged = try elements(
                    connection,
                    """
                    SELECT qoe_sketch_merge(part) FROM (
                        SELECT qoe_sketch_merge(sketch) AS part FROM parts GROUP BY id % \(groups)
                    ) AS grouped
                    """)
                #expect(merged == whole.elements, "\(groups) groups")
            }
            let one = try elements(
                connection, "SELECT qoe_sketch_merge(sketch) FROM parts WHERE id = 100")
            #expect(one == parts[100].elements)
        }
    }

    @Test func `a parallel plan makes the same array`() throws {
        let seed = UInt64.random(in: 0..<1 << 32)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        var whole = QuantileSketch()
        var parts: [QuantileSketch] = []
        for _ in 0..<5000 {
            let part = sketch(
                of: (0..<8).map { _ in UInt64.random(in: 0...3_600_000_000, using: &random) })
            whole.merge(part)
            parts.append(part)
        }
        try withSchema { url in
            let connection = try connect(url)
            try store(parts, connection)
            try connection.execute(
                """
                ANALYZE parts;
                SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
                SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 3;
                SET parallel_leader_participation = off;
                """)
            let question = "SELECT qoe_sketch_merge(sketch) FROM parts"
            let plan = try connection.query("EXPLAIN \(question)").rows.map { row in
                var row = row
                return try row.next(String.self)
            }
            #expect(plan.contains { $0.contains("Partial Aggregate") }, "\(plan)")
            #expect(try elements(connection, question) == whole.elements)
            try connection.execute("SET max_parallel_workers_per_gather = 0")
            #expect(try elements(connection, question) == whole.elements)
        }
    }

    @Test func `counts beyond one element are kept in several`() throws {
        let full = BinTable.countMax
        let low = UInt64(7) << BinTable.countBits
        let high = UInt64(900) << BinTable.countBits
        let rows = [
            [low | full, high | 3_000_000_000], [low | full], [low | 5, high | 2_000_000_000],
            [low | (full - 4)], [high | full],
        ]
        // Bucket 7: 3·full + 1. Bucket 900: full + 5,000,000,000.
        let merged = [
            low | 1, low | full, low | full, low | full, high | 5_000_000_000, high | full,
        ]
        let total = Int64(4 * full + 5_000_000_001)
        try withSchema { url in
            let connection = try connect(url)
            let values = rows.map { "(\(sql($0)))" }.joined(separator: ",")
            try connection.execute(
                "CREATE TABLE big AS SELECT * FROM (VALUES \(values)) v (sketch)")
            let question = "SELECT qoe_sketch_merge(sketch) FROM big"
            #expect(try elements(connection, question) == merged)
            let nested = """
                SELECT qoe_sketch_merge(part) FROM (
                    SELECT qoe_sketch_merge(sketch) AS part FROM big GROUP BY ctid::text < '(0,3)'
                ) AS grouped
                """
            #expect(try elements(connection, nested) == merged)
            #expect(try integer(connection, "SELECT qoe_sketch_count((\(question)))") == total)
            let mapping = BucketMapping.shared
            for (q, bucket) in [(0.0, 7), (0.5, 7), (0.74, 7), (0.76, 900), (1, 900)] {
                let value = try double(
                    connection, "SELECT qoe_sketch_quantile((\(question)), \(q))")
                #expect(value == mapping.representative(of: bucket) / MetricValue.scale, "\(q)")
            }
        }
    }

    @Test func `nothing is NULL, and NULL changes nothing`() throws {
        try withSchema { url in
            let connection = try connect(url)
            let merge = "SELECT qoe_sketch_merge(s::bigint[]) FROM (VALUES"
            #expect(try elements(connection, "\(merge) (NULL)) v (s)") == nil)
            #expect(try elements(connection, "\(merge) (NULL)) v (s) WHERE false") == nil)
            #expect(try elements(connection, "\(merge) ('{}'), (NULL)) v (s)") == nil)
            let one = BinTable.countMax + 2
            #expect(
                try elements(connection, "\(merge) (NULL), ('{\(one)}'), (NULL), ('{}')) v (s)")
                    == [one])
            for nothing in ["NULL", "'{}'"] {
                #expect(try integer(connection, "SELECT qoe_sketch_count(\(nothing))") == nil)
                for call in [
                    "qoe_sketch_quantile(\(nothing), 0.5)",
                    "qoe_sketch_quantile(\(nothing), 0.5, 1, 2)",
                    "qoe_sketch_fraction_below(\(nothing), 5)", "qoe_apdex(\(nothing), 5)",
                    "(qoe_sketch_quantiles(\(nothing), ARRAY[0.5]))[1]",
                ] {
                    #expect(try double(connection, "SELECT \(call)") == nil, "\(call)")
                }
            }
        }
    }

    @Test(arguments: [
        ("qoe_sketch_quantile('{1}', 1.01)", "22003", "from 0 to 1, not 1.01"),
        ("qoe_sketch_quantile('{1}', -0.1)", "22003", "from 0 to 1, not -0.1"),
        ("qoe_sketch_quantile('{1}', 'NaN')", "22003", "from 0 to 1, not NaN"),
        ("qoe_sketch_quantiles('{1}', ARRAY[0.5, 99])", "22003", "from 0 to 1, not 99"),
        ("qoe_sketch_fraction_below('{1}', 'NaN')", "22003", "not a number"),
        ("qoe_apdex('{1}', 0)", "22003", "above 0 and finite, not 0"),
        ("qoe_sketch_count('{2,1}')", "22000", "not in order"),
        ("qoe_sketch_count('{1,NULL}')", "22000", "NULL"),
        ("qoe_sketch_quantile('{-1}', 0.5)", "22000", "negative"),
        ("qoe_sketch_quantile('{9223372036854775807}', 0.5)", "22000", "no bucket 8388607"),
        ("qoe_sketch_merge('{1,NULL}')", "22000", "not a sketch"),
        ("qoe_sketch_merge('{1099511627776}')", "22000", "counts nothing"),
        ("qoe_sketch_merge('{-1}')", "22000", "not a sketch"),
    ])
    func `what makes no sense is refused with a reason`(
        call: String, state: String, reason: String
    ) throws {
        try withSchema { url in
            let connection = try connect(url)
            let error = #expect(throws: PostgresError.self) {
                _ = try connection.query("SELECT \(call)")
            }
            #expect(error?.sqlState?.rawValue == state)
            #expect(error?.message.contains(reason) == true, "\(error?.message ?? "no error")")
        }
    }

    @Test func `functions are immutable, parallel-safe, explained and anyone's to call`() throws {
        try withSchema { url in
            let odd = """
                SELECT count(*) FROM pg_proc
                WHERE (proname LIKE 'qoe_sketch%' OR proname = 'qoe_apdex')
                    AND (provolatile <> 'i' OR proparallel <> 's' OR prosecdef
                        OR NOT has_function_privilege('public', oid, 'EXECUTE')
                        OR obj_description(oid, 'pg_proc') IS NULL)
                """
            let connection = try connect(url)
            #expect(try integer(connection, odd) == 0)
        }
    }
}
