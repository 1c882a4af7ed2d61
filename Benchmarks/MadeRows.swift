import Glibc
import Telemetry
import TestKit
import Windowing

/// Rows of `agg_1m` as a fleet makes them: six metrics, some nine values each in some eight buckets.
struct MadeRows {
    static let metrics: [Metric] = [.dns, .tcp, .tls, .ttfb, .throughput, .total]
    /// The names that the questions of docs/sql.md ask for are among these.
    static let targets: [Name] = [
        "https://api.example.com/health", "https://cdn.example.com/1k",
        "https://legacy.example.com/", "https://shop.example.com/",
        "https://video.example.com/segment",
    ]
    private static let providers: [Name] = [
        "Northern Fibre", "Fjord Mobile", "Skyline Air", "Harbour Cable", "Island Net",
        "City Cable", "Lakeside DSL", "Valley Wireless",
    ]
    private static let regions: [Name] = ["eu-north", "eu-west", "us-east", "ap-south"]
    private static let networkTypes: [Name] = ["wired", "wifi", "lte"]
    private static let resolverCount = 4
    private static let valueCount = 9
    private static let errorPercent = 1
    /// Standard deviation of the logarithm of a value within a minute.
    private static let spread = 0.25

    private var random: SeededGenerator

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
    }

    /// The cells of one minute: `count` pairs of client and target, ascending by key.
    ///
    /// - Parameter repeats: How often each cell has measured: a later state of the same cell has more values.
    mutating func minute(
        _ window: Window, cells count: Int, sequence: UInt64, repeats: Int = 1
    ) -> [CellRow] {
        (0..<count).map { index in
            let client = index / Self.targets.count
            let number = String(client + 1)
            let padding = String(repeating: "0", count: max(0, 2 - number.count))
            let key = CellKey(
                client: Name("probe-\(padding)\(number)"),
                target: Self.targets[index % Self.targets.count], window: window)
            return CellRow(
                key: key, cell: cell(client, window, repeats: repeats), lastSequence: sequence)
        }
    }

    private mutating func cell(_ client: Int, _ window: Window, repeats: Int) -> Cell {
        var cell = Cell()
        for _ in 0..<Self.valueCount * repeats {
            cell.count(errorStage: random.chance(Self.errorPercent) ? .http : nil, isLate: false)
            for metric in Self.metrics {
                // Around 20 to 120 of the unit, by metric and client.
                let middle = 20 * Double(1 + metric.rawValue) * (1 + Double(client % 7) / 10)
                if let value = MetricValue(middle * exp(Self.spread * normal()), of: metric) {
                    cell.insert(value, of: metric)
                }
            }
        }
        let provider = client % Self.providers.count
        cell.update(
            context: NetworkContext(
                sourceIP: Name("198.51.\(client / 250 % 250).\(client % 250)"),
                networkType: Self.networkTypes[client % Self.networkTypes.count],
                isp: Self.providers[provider], asn: 64_500 + UInt32(provider),
                region: Self.regions[client / 3 % Self.regions.count],
                resolver: Name("192.0.2.\(client / 5 % Self.resolverCount)")),
            measuredAtMilliseconds: window.startMilliseconds)
        return cell
    }

    /// A normally distributed number (Box and Muller).
    private mutating func normal() -> Double {
        let radius = sqrt(-2 * log(1 - Double.random(in: 0..<1, using: &random)))
        return radius * cos(2 * Double.pi * Double.random(in: 0..<1, using: &random))
    }
}
