internal import EventParsing
internal import Telemetry

/// Requests that are accepted as they stand, as long as their measurements are not older than the retention.
extension OpenAPIDocument {
    static let exampleIDs = (0..<3).map {
        UniqueID(high: 0x550e_8400_e29b_41d4, low: 0xa716_4466_5544_0000 + $0)
    }

    func exampleEvent(_ index: Int) -> JSONNode {
        [
            "schema_version": .integer(Int64(Event.schemaVersion)),
            "event_id": .text(Self.exampleIDs[index].description), "client_id": "probe-001",
            "target": "https://api.example.com", "ts_ms": .integer(nowMilliseconds),
            "network_context": [
                "network_type": "wifi", "isp": "Example ISP", "asn": 64500, "region": "eu-west",
            ],
            "timing_measurements": .object(
                Metric.allCases.filter { ![.rtt, .jitter, .loss, .loadedRTT].contains($0) }
                    .enumerated().map { ($1.jsonName, .integer(Int64($0) * 12 + 3)) }),
            "error_stage": .raw("null"),
        ]
    }

    var exampleLines: JSONNode {
        var lines = ""
        for index in 0..<2 {
            exampleEvent(index).append(to: &lines)
            lines += "\n"
        }
        return .text(lines)
    }

    var exampleHeartbeat: JSONNode {
        var heartbeat = Heartbeat(
            clientID: "probe-001", sentAtMilliseconds: nowMilliseconds)
        heartbeat.version = "0.1.0"
        heartbeat.uptimeSeconds = 3600
        heartbeat.hostname = "probe-001.example.com"
        heartbeat.labels = ["site": "berlin"]
        heartbeat.capabilities = ["http"]
        heartbeat.spoolDepth = 0
        heartbeat.drops = 0
        heartbeat.activeTargets = 3
        return .raw(String(decoding: HeartbeatParser.encode(heartbeat), as: UTF8.self))
    }
}
