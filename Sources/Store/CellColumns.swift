internal import Postgres
internal import Sketches
internal import Telemetry
internal import Windowing

/// The columns of `agg_1m` that are a cell, in the order of the type `qoe_cell`.
///
/// Rows travel as one array of that composite type. Measured against one array per column: the
/// server takes a third of the time for 5,000 rows of 100 columns, since it builds whole rows at
/// once, and arrays of different lengths (sketches) need no detour through text.
enum CellColumns {
    static let key = ["client_id", "target", "window_start_ts"]

    private static let counts =
        ["count_total", "count_success", "count_error"]
        + ErrorStage.allCases.map { "\($0.name)_error_count" } + ["late_count"]

    private static let context = [
        "network_type", "isp", "asn", "region", "source_ip", "resolver", "context_ts_ms",
    ]

    /// All columns of a row that is sent.
    static let all =
        key + counts
        + Metric.allCases.flatMap { metric in
            ["count", "sum", "min", "max", "p50", "p95", "p99", "sketch"]
                .map { "\(metric.sqlName)_\($0)" }
        } + context + ["last_seq"]

    /// What a cell is made of again: all but the key and the quantiles, which follow.
    static let state =
        counts
        + Metric.allCases.flatMap { metric in
            ["count", "sum", "min", "max", "sketch"].map { "\(metric.sqlName)_\($0)" }
        } + context + ["last_seq"]

    /// Writes ``all``.
    static func write(_ row: CellRow, _ record: inout PostgresRecordWriter) {
        let cell = row.cell
        record.append(row.key.client.text)
        record.append(row.key.target.text)
        record.append(PostgresTimestamp(milliseconds: row.key.window.startMilliseconds))
        record.append(cell.total)
        record.append(cell.success)
        record.append(cell.error)
        for stage in ErrorStage.allCases { record.append(cell.errors(at: stage)) }
        record.append(cell.late)
        for metric in Metric.allCases { write(metric, of: cell, &record) }
        record.append(cell.context.networkType?.text)
        record.append(cell.context.isp?.text)
        record.append(cell.context.asn.map(Int64.init))
        record.append(cell.context.region?.text)
        record.append(cell.context.sourceIP?.text)
        record.append(cell.context.resolver?.text)
        record.append(cell.contextMeasuredAtMilliseconds)
        record.append(Int64(clamping: row.lastSequence))
    }

    private static func write(
        _ metric: Metric, of cell: Cell, _ record: inout PostgresRecordWriter
    ) {
        let summary = cell.summary(of: metric)
        record.append(Int64(clamping: summary.count))
        guard let minimum = summary.minimum, let maximum = summary.maximum else {
            record.append(Int64?.none)
            for _ in 0..<extremeCount + quantiles.count { record.append(Double?.none) }
            record.append(array: [Int64]?.none)
            return
        }
        record.append(summary.sum)
        record.append(minimum.inUnit)
        record.append(maximum.inUnit)
        cell.withSketch(of: metric) { sketch in
            let estimates = QuantileSketch.quantiles(quantiles, of: sketch)
            for index in quantiles.indices {
                let estimate = estimates.map {
                    min(max($0[index], Double(minimum.millionths)), Double(maximum.millionths))
                }
                record.append(estimate.map { $0 / MetricValue.scale })
            }
            record.append(bigints: sketch, mask: Cell.sketchMask)
        }
    }

    /// Minimum and maximum.
    private static let extremeCount = 2
    private static let quantiles: [3 of Double] = [0.5, 0.95, 0.99]

    /// Reads ``state``.
    static func read(_ key: CellKey, _ row: inout PostgresRow) throws(PostgresError) -> CellRow {
        let total: Int64 = try row.next()
        let success: Int64 = try row.next()
        let error: Int64 = try row.next()
        var errors: [ErrorStage: Int64] = [:]
        for stage in ErrorStage.allCases { errors[stage] = try row.next() }
        let late: Int64 = try row.next()
        var metrics: [Metric: (summary: MetricSummary, sketch: [UInt64])] = [:]
        for metric in Metric.allCases { metrics[metric] = try read(metric, &row) }
        var context = NetworkContext()
        context.networkType = try row.nextOptional().map { Name($0) }
        context.isp = try row.nextOptional().map { Name($0) }
        context.asn = try row.nextOptional(Int64.self).flatMap { UInt32(exactly: $0) }
        context.region = try row.nextOptional().map { Name($0) }
        context.sourceIP = try row.nextOptional().map { Name($0) }
        context.resolver = try row.nextOptional().map { Name($0) }
        let parts = Cell.Parts(
            total: total, success: success, error: error, late: late, errorsByStage: errors,
            metrics: metrics, context: context,
            contextMeasuredAtMilliseconds: try row.nextOptional())
        guard let cell = Cell(parts) else { throw damaged("a sketch") }
        return CellRow(
            key: key, cell: cell, lastSequence: UInt64(clamping: try row.next(Int64.self)))
    }

    private static func read(
        _ metric: Metric, _ row: inout PostgresRow
    ) throws(PostgresError) -> (summary: MetricSummary, sketch: [UInt64])? {
        let count: Int64 = try row.next()
        let sum = try row.nextOptional(Int64.self)
        let minimum = try row.nextOptional(Double.self)
        let maximum = try row.nextOptional(Double.self)
        let sketch = try row.nextOptionalArray(of: Int64.self)
        if count == 0 { return nil }
        guard let sum, let sketch, let minimum = millionths(minimum),
            let maximum = millionths(maximum),
            let summary = MetricSummary(count: count, sum: sum, minimum: minimum, maximum: maximum)
        else { throw damaged(metric.sqlName) }
        return (summary, sketch.map { UInt64(bitPattern: $0) })
    }

    /// The integer that a minimum or maximum was made of. Exact: the largest value of a metric is
    /// 3.6e12 millionths, far below the 2^53 up to which doubles tell integers apart.
    private static func millionths(_ value: Double?) -> MetricValue? {
        guard let value, let whole = UInt64(exactly: (value * MetricValue.scale).rounded()) else {
            return nil
        }
        return MetricValue(millionths: whole)
    }

    private static func damaged(_ what: String) -> PostgresError {
        PostgresError(.unexpectedResult, "a row of agg_1m is damaged: \(what)")
    }
}
