import Glibc
import Telemetry

/// Requests of many probes as bytes on the wire, with events as the documentation has them.
///
/// Every probe posts about its own four targets. `ingest` does not look whether it has seen an event before,
/// so one body may be posted again and again; where the events are counted afterwards, ``renumber(_:)`` makes
/// new ones of them in place.
struct PostedRequests {
    static let probeCount = 64
    static let targetCount = 4

    let eventsPerRequest: Int
    /// A request per probe: head and body.
    private(set) var requests: [[UInt8]]
    /// Where the requests' bodies begin.
    let bodyStarts: [Int]
    /// Where the digits of each event's `seq` begin, per request.
    private let numberPositions: [[Int]]
    /// The number of the next event of each probe.
    private var nextNumbers: [UInt64]

    /// Numbers have as many digits from the first to the last.
    private static let firstNumber: UInt64 = 1_000_000_000

    /// - Parameter token: Nil for a server that asks for none.
    init(eventsPerRequest: Int, token: String?, measuredAtMilliseconds: Int64) {
        self.eventsPerRequest = eventsPerRequest
        var requests: [[UInt8]] = []
        var starts: [Int] = []
        var positions: [[Int]] = []
        for probe in 0..<Self.probeCount {
            let body = Self.body(probe, eventsPerRequest, measuredAtMilliseconds)
            let head = """
                POST /events HTTP/1.1\r
                Host: 127.0.0.1\r
                Content-Type: application/json\r
                Authorization: Bearer \(token ?? "none")\r
                Content-Length: \(body.utf8.count)\r
                \r

                """
            let bytes = Array(head.utf8) + Array(body.utf8)
            positions.append(Self.positions(of: Array("\"seq\":".utf8), in: bytes))
            starts.append(head.utf8.count)
            requests.append(bytes)
        }
        self.requests = requests
        bodyStarts = starts
        numberPositions = positions
        nextNumbers = requests.map { _ in Self.firstNumber }
    }

    var bodyByteCount: Int { requests[0].count - bodyStarts[0] }

    /// One event's JSON.
    static func event(probe: Int, index: Int, measuredAtMilliseconds: Int64) -> String {
        """
        {"schema_version":1,"event_id":"550e8400-e29b-41d4-a716-\(digits(1_000_000 * probe + index, 12))",\
        "client_id":"probe-\(digits(probe, 3))","target":"https://api-\(index % targetCount).example.com",\
        "ts_ms":\(measuredAtMilliseconds),"network_context":{"network_type":"wifi","isp":"Example ISP",\
        "asn":64500,"region":"eu-west"},"timing_measurements":{"dns_ms":15.3,"tcp_ms":25.7,\
        "tls_ms":45.2,"ttfb_ms":125.8,"throughput_mbps":95.4},"error_stage":null,\
        "session_id":"11111111-2222-4333-8444-\(digits(probe, 12))",\
        "seq":\(firstNumber + UInt64(index))}
        """
    }

    /// Gives the events of a probe's request numbers that it has not sent before.
    mutating func renumber(_ probe: Int) {
        for position in numberPositions[probe] {
            var rest = nextNumbers[probe]
            nextNumbers[probe] += 1
            for place in stride(from: position + 9, through: position, by: -1) {
                requests[probe][place] = UInt8(ascii: "0") + UInt8(rest % 10)
                rest /= 10
            }
        }
    }

    private static func body(_ probe: Int, _ count: Int, _ milliseconds: Int64) -> String {
        guard count > 1 else {
            return event(probe: probe, index: 0, measuredAtMilliseconds: milliseconds)
        }
        let events = (0..<count).map {
            event(probe: probe, index: $0, measuredAtMilliseconds: milliseconds)
        }
        return "[" + events.joined(separator: ",") + "]"
    }

    private static func digits(_ number: Int, _ count: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, count - text.count)) + text
    }

    /// Behind each occurrence of `key`.
    private static func positions(of key: [UInt8], in bytes: [UInt8]) -> [Int] {
        bytes.indices.dropLast(key.count).filter { start in
            bytes[start] == key[0] && bytes[start..<start + key.count].elementsEqual(key)
        }.map { $0 + key.count }
    }
}
