internal import EventParsing
internal import FoundationEssentials
internal import Store
internal import Telemetry
internal import Windowing

/// Reads the heartbeats of the stream, whoever published them.
struct HeartbeatDecoder {
    private let parser = HeartbeatParser()

    /// What `ingest` adds; a heartbeat that another client published may lack it.
    private struct Receipt: Decodable {
        var receivedAtMilliseconds: Int64?
        var sourceAddress: String?

        enum CodingKeys: String, CodingKey {
            case receivedAtMilliseconds = "recv_ts_ms"
            case sourceAddress = "source_address"
        }
    }

    func decode(
        _ payload: [UInt8], at position: PartitionState.Position
    ) throws(EventRejection) -> HeartbeatRow {
        var storage = payload
        storage.append(contentsOf: repeatElement(0, count: EventParser.paddingByteCount))
        let outcome = storage.withUnsafeMutableBytes { bytes in
            Result { () throws(EventRejection) in
                try parser.parse(bytes, byteCount: payload.count) { _ in true }
            }
        }
        var heartbeat = try outcome.get()
        let receipt = try? JSONDecoder().decode(Receipt.self, from: Data(payload))
        heartbeat.sourceAddress = receipt?.sourceAddress.map { String($0.prefix(64)) }
        let received = receipt?.receivedAtMilliseconds ?? position.brokerMilliseconds
        // Judged by the broker's clock: nobody's receipt lies far from when it was stored.
        let isPlausible =
            received.subtractingReportingOverflow(position.brokerMilliseconds).partialValue
            .magnitude <= EventLimits.aheadMillisecondsMax
        return HeartbeatRow(
            heartbeat: heartbeat,
            receivedAtMilliseconds: isPlausible ? received : position.brokerMilliseconds,
            sequence: position.sequence)
    }
}
