import Glibc

/// Reads `--name value` and `--flag`.
struct Arguments {
    private let words = Array(CommandLine.arguments.dropFirst())
    private static let flags = ["--short"]
    private static let options = [
        "--only", "--events", "--cells", "--orders", "--aggregator", "--connections", "--batches",
        "--rounds", "--seconds", "--nats-server", "--memory-seconds", "--days",
    ]

    func has(_ flag: String) -> Bool { words.contains(flag) }

    /// The parts of a value that commas separate; nil when it is not given.
    func list(_ option: String) -> [String]? {
        guard let position = words.firstIndex(of: option), words.indices.contains(position + 1)
        else { return nil }
        return words[position + 1].split(separator: ",").map(String.init)
    }

    func integers(_ option: String) -> [Int]? {
        list(option).map { $0.compactMap { Int($0) } }
    }

    /// The first word that means nothing.
    var unknown: String? {
        var isValue = false
        for word in words {
            if isValue {
                isValue = false
            } else if Self.options.contains(word) {
                isValue = true
            } else if !Self.flags.contains(word) {
                return word
            }
        }
        return nil
    }
}

let allParts = [
    "parsing", "core", "sketches", "state", "aggregator", "ingest", "durable", "whole", "memory",
    "overload", "sql", "flush", "storage", "rollup", "year",
]
let usage = """
    usage: benchmarks [--short] [--only PART,…]
               [--events N] [--cells N,…] [--orders ordered,shuffled,duplicates]
               [--aggregator ARGUMENT,…]
               [--connections N,…] [--batches N,…] [--seconds N] [--rounds N]
               [--nats-server PATH] [--memory-seconds N] [--days N]
    Parts: \(allParts.joined(separator: ", ")); all but year unless --only names some.
    --short: each piece once, small. --events, --cells and --orders are of the parts state and
    aggregator; --aggregator passes further arguments to the aggregator. The line after is of ingest,
    durable, whole, memory and overload; --nats-server (or QOE_BENCH_NATS_SERVER) names a nats-server of 2.10 or
    newer for the part durable. What wrk and nginx are for is skipped where they are missing. --days is how
    many days of hours the part year makes, some 0.4 GB each.
    """

let arguments = Arguments()
if let unknown = arguments.unknown {
    print("unknown: \(unknown)\n\(usage)")
    exit(2)
}
let isShort = arguments.has("--short")
// A year takes a quarter of an hour and 17 GB of disk.
let parts = arguments.list("--only") ?? allParts.filter { $0 != "year" }
if let part = parts.first(where: { !allParts.contains($0) }) {
    print("no part is called \(part)\n\(usage)")
    exit(2)
}
let cellCounts = arguments.integers("--cells") ?? (isShort ? [1000, 100_000] : nil)

let comparisons: [(name: String, make: () -> Comparison)] = [
    ("parsing", parsingComparison), ("core", coreComparison), ("sketches", sketchComparison),
]
let rounds = isShort ? 1 : 9
if comparisons.contains(where: { parts.contains($0.name) }) {
    print("rounds: \(rounds), median of each; ratios are to the baseline of the same run\n")
}
for comparison in comparisons where parts.contains(comparison.name) {
    comparison.make().report(rounds: rounds)
}
if parts.contains("state") {
    var benchmark = StateBenchmark()
    if let cellCounts { benchmark.cellCounts = cellCounts }
    benchmark.run()
}
if parts.contains("sql") {
    var benchmark = SQLBenchmark()
    if isShort {
        benchmark.rowCount = 100_000
        benchmark.rounds = 1
    }
    do {
        try benchmark.run()
    } catch {
        print("sql: \(error)")
        exit(1)
    }
}
do {
    if parts.contains("flush") {
        var benchmark = FlushBenchmark()
        if isShort {
            benchmark.sizes = [100, 1000]
            benchmark.rounds = 1
        }
        try benchmark.run()
    }
    if parts.contains("storage") {
        var benchmark = StorageBenchmark()
        if isShort {
            benchmark.rowCount = 10_000
            benchmark.mergeCount = 100_000
            benchmark.rounds = 1
        }
        try benchmark.run()
    }
    if parts.contains("rollup") {
        var benchmark = RollupBenchmark()
        if isShort { benchmark.cellCounts = [100] }
        try benchmark.run()
    }
    if parts.contains("year") {
        var benchmark = YearBenchmark()
        if isShort {
            benchmark.clones = 2
            benchmark.dayCount = 40
            benchmark.rounds = 1
        }
        if let days = arguments.integers("--days")?.first {
            benchmark.hourDays = min(max(8, days), benchmark.dayCount)
        }
        try benchmark.run()
    }
} catch {
    print("database: \(error)")
    exit(1)
}
if parts.contains("aggregator") {
    var benchmark = AggregatorBenchmark()
    if isShort {
        benchmark.eventCount = 500_000
        benchmark.orders = [.ordered]
        benchmark.latencySeconds = 5
    }
    if let count = arguments.integers("--events")?.first { benchmark.eventCount = max(1000, count) }
    if let cellCounts { benchmark.cellCounts = cellCounts }
    if let orders = arguments.list("--orders") {
        benchmark.orders = orders.compactMap { Workload.Order(rawValue: $0) }
    }
    benchmark.arguments = arguments.list("--aggregator") ?? []
    do {
        try benchmark.run()
    } catch {
        print("aggregator: \(error)")
        exit(1)
    }
}

var ingestBenchmark = IngestBenchmark()
if isShort {
    ingestBenchmark.connectionCounts = [16, 64]
    ingestBenchmark.batchSizes = [IngestBenchmark.batchOfGoals]
    ingestBenchmark.rounds = 1
    ingestBenchmark.seconds = 2
    ingestBenchmark.memorySeconds = 60
    ingestBenchmark.overloadSeconds = 5
}
if let counts = arguments.integers("--connections") { ingestBenchmark.connectionCounts = counts }
if let sizes = arguments.integers("--batches") { ingestBenchmark.batchSizes = sizes }
if let rounds = arguments.integers("--rounds")?.first { ingestBenchmark.rounds = max(1, rounds) }
if let seconds = arguments.integers("--seconds")?.first {
    ingestBenchmark.seconds = max(1, seconds)
    ingestBenchmark.overloadSeconds = ingestBenchmark.seconds
}
if let seconds = arguments.integers("--memory-seconds")?.first {
    ingestBenchmark.memorySeconds = max(10, seconds)
}
ingestBenchmark.syncingServer =
    arguments.list("--nats-server")?.first
    ?? getenv("QOE_BENCH_NATS_SERVER").map { String(cString: $0) }
do {
    if parts.contains("ingest") { try ingestBenchmark.run() }
    if parts.contains("durable") { try ingestBenchmark.runDurable() }
    if parts.contains("whole") { try ingestBenchmark.runWholeWay() }
    if parts.contains("memory") { try ingestBenchmark.runMemory() }
    if parts.contains("overload") { try ingestBenchmark.runOverload() }
} catch {
    print("ingest: \(error)")
    exit(1)
}
