internal import FoundationEssentials
package import Telemetry

/// Turns posted heartbeats into validated values, and values into the JSON that goes on the bus.
///
/// Serves one thread at a time. Heartbeats are rare: what matters here is the bound, not the speed.
package struct HeartbeatParser {
    /// Longest text other than `client_id`, bytes of UTF-8.
    package static let textBytesMax = 256
    /// Most labels, and most capabilities.
    package static let labelsMax = 32
    /// Longest heartbeat, bytes.
    package static let bytesMax = 64 << 10

    private let grammar = EventParser(eventCountMax: 1, eventBytesMax: bytesMax)

    package init() {}

    /// The heartbeat in the first `byteCount` bytes of `storage`.
    ///
    /// Its `ts_ms` may be any time: a wrong clock is one of the things that a heartbeat tells. What only
    /// `ingest` knows, `recv_ts_ms` and `source_address`, is taken out. `client_id` is in Unicode's
    /// Normalization Form C, as in events.
    ///
    /// - Precondition: `storage` has room for ``EventParser/paddingByteCount`` more bytes.
    /// - Parameter mayPost: Whether the poster may speak for the client with this name.
    package func parse(
        _ storage: UnsafeMutableRawBufferPointer, byteCount: Int,
        mayPost: (UnsafeRawBufferPointer) -> Bool
    ) throws(EventRejection) -> Heartbeat {
        // The strict grammar, with its bounds of depth and length, before Foundation's lenient one.
        let body = unsafe try grammar.parse(storage, byteCount: byteCount, as: .json)
        guard !body.isBatch else {
            throw EventRejection(.invalidRequest, "a heartbeat must be a JSON object")
        }
        guard byteCount <= Self.bytesMax else {
            throw EventRejection(
                .payloadTooLarge, "a heartbeat must not be longer than \(Self.bytesMax) bytes")
        }
        // Foundation hashes keys in their normal form, and to find it for nothing but accents takes time
        // that grows with the square of their length.
        guard grammar.longestKeyByteCount(in: 0) <= Self.textBytesMax else {
            throw EventRejection(
                .invalidRequest,
                "a heartbeat must not have keys longer than \(Self.textBytesMax) bytes")
        }
        // Foundation would choose one of the two.
        for field in [EventField.clientID, .timestamp, .sessionID]
        where grammar.isRepeated(field, in: 0) {
            throw rejection(field.name, "must not come twice")
        }
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: storage[..<byteCount])
        try unsafe checkIntegers(of: decode(IntegerMembers.self, from: bytes))
        var heartbeat = unsafe try decode(Heartbeat.self, from: bytes)
        heartbeat.receivedAtMilliseconds = nil
        heartbeat.sourceAddress = nil
        heartbeat.clientID = try canonicalForm(of: heartbeat.clientID)
        try checkTexts(of: heartbeat)
        try checkNumbers(of: heartbeat)
        var client = heartbeat.clientID.text
        guard client.withUTF8({ unsafe mayPost(UnsafeRawBufferPointer($0)) }) else {
            throw EventField.clientID.rejection(
                "names a client that the sender may not speak for", code: .forbidden)
        }
        return heartbeat
    }

    /// The heartbeat's JSON object, in UTF-8.
    package static func encode(_ heartbeat: Heartbeat) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Fails only for numbers that are not finite, which `parse` lets through nowhere.
        guard let data = try? encoder.encode(heartbeat) else {
            preconditionFailure("a heartbeat that is not finite")
        }
        return Array(data)
    }

    private func decode<Value: Decodable>(
        _ type: Value.Type, from bytes: UnsafeRawBufferPointer
    ) throws(EventRejection) -> Value {
        do {
            return unsafe try JSONDecoder().decode(type, from: Data(bytes))
        } catch DecodingError.keyNotFound(let key, _) {
            throw rejection(key.stringValue, "is required")
        } catch DecodingError.valueNotFound(_, let context) {
            throw rejection(path(context), "must not be null")
        } catch DecodingError.typeMismatch(let type, let context) {
            throw rejection(path(context), "must be \(name(of: type))")
        } catch DecodingError.dataCorrupted(let context) {
            throw rejection(path(context), "must be \(problem(path(context)))")
        } catch {
            throw EventRejection(.invalidRequest, "the body is not a heartbeat")
        }
    }

    private func path(_ context: DecodingError.Context) -> String {
        context.codingPath.map(\.stringValue).joined(separator: ".")
    }

    /// What a member must be whose JSON type is right and whose value is not.
    private func problem(_ field: String) -> String {
        field == "session_id" ? "a UUID of 36 characters" : "within the range of its type"
    }

    private func name(of type: any Any.Type) -> String {
        switch type {
        case is String.Type: "a text"
        case is Double.Type: "a number"
        case is Int64.Type: "an integer"
        case is [String: String].Type, is [String: Any].Type: "an object of texts"
        case is [String].Type, is [Any].Type: "an array of texts"
        default: "of another type"
        }
    }

    private func rejection(_ field: String, _ problem: String) -> EventRejection {
        EventRejection(
            field == "ts_ms" ? .invalidTimestamp : .invalidRequest,
            field: field.isEmpty ? nil : field,
            "\(field.isEmpty ? "the body" : field) \(problem)")
    }

    private func canonicalForm(of client: Name) throws(EventRejection) -> Name {
        let limit = EventLimits.clientIDBytesMax
        // Before the work, so that it is bounded.
        guard client.text.utf8.count <= limit * CanonicalForm.shrinkageMax else {
            throw EventField.clientID.rejection
        }
        return Name(CanonicalForm.composed(client.text))
    }

    private func checkTexts(of heartbeat: Heartbeat) throws(EventRejection) {
        try check(heartbeat.clientID.text, "client_id", 1...EventLimits.clientIDBytesMax)
        let texts: KeyValuePairs = [
            "version": heartbeat.version, "build": heartbeat.build,
            "hostname": heartbeat.hostname, "external_address": heartbeat.externalAddress,
            "configuration_hash": heartbeat.configurationHash, "last_error": heartbeat.lastError,
        ]
        for (field, text) in texts {
            if let text { try check(text, field, 0...Self.textBytesMax) }
        }
        let labels = heartbeat.labels ?? [:]
        let capabilities = heartbeat.capabilities ?? []
        guard labels.count <= Self.labelsMax else {
            throw rejection("labels", "must not be more than \(Self.labelsMax)")
        }
        guard capabilities.count <= Self.labelsMax else {
            throw rejection("capabilities", "must not be more than \(Self.labelsMax)")
        }
        for (label, text) in labels {
            try check(label, "labels", 1...Self.textBytesMax)
            try check(text, "labels", 0...Self.textBytesMax)
        }
        for capability in capabilities {
            try check(capability, "capabilities", 1...Self.textBytesMax)
        }
    }

    private func check(
        _ text: String, _ field: String, _ bytes: ClosedRange<Int>
    ) throws(EventRejection) {
        let hasControl = text.unicodeScalars.contains { $0.properties.generalCategory == .control }
        guard bytes.contains(text.utf8.count), !hasControl else {
            throw rejection(
                field,
                "must be texts of \(bytes.lowerBound) to \(bytes.upperBound) bytes of UTF-8 "
                    + "without control characters")
        }
    }

    /// The members that are integers, read as numbers: Foundation does not say which integer it cannot read.
    private struct IntegerMembers: Decodable {
        var ts_ms: Double?
        var spool_depth: Double?
        var drops: Double?
        var memory_bytes: Double?
        var active_targets: Double?
    }

    private func checkIntegers(of members: IntegerMembers) throws(EventRejection) {
        let integers: KeyValuePairs = [
            "ts_ms": members.ts_ms, "spool_depth": members.spool_depth, "drops": members.drops,
            "memory_bytes": members.memory_bytes, "active_targets": members.active_targets,
        ]
        for (field, value) in integers {
            guard let value else { continue }
            guard (0...Self.largestInteger).contains(value), value.rounded() == value else {
                throw rejection(
                    field, "must be an integer from 0 to \(SessionSequence.maximumNumber)")
            }
        }
    }

    private static let largestInteger = Double(SessionSequence.maximumNumber)

    private func checkNumbers(of heartbeat: Heartbeat) throws(EventRejection) {
        let amounts: KeyValuePairs = [
            "uptime_s": heartbeat.uptimeSeconds,
            "spool_oldest_age_s": heartbeat.spoolOldestAgeSeconds,
            "clock_uncertainty_ms": heartbeat.clockUncertaintyMilliseconds,
            "cpu_pct": heartbeat.cpuPercent,
        ]
        for (field, amount) in amounts {
            guard let amount else { continue }
            guard (0...Self.largestInteger).contains(amount) else {
                throw rejection(
                    field, "must be a number from 0 to \(SessionSequence.maximumNumber)")
            }
        }
        if let offset = heartbeat.clockOffsetMilliseconds {
            guard abs(offset) <= Self.largestInteger else {
                throw rejection(
                    "clock_offset_ms", "must be within ±\(SessionSequence.maximumNumber)")
            }
        }
    }
}
