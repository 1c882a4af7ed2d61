internal import Blocks
internal import CEventParser
internal import Telemetry

/// One parsed event on its way to validated fields.
@unsafe struct EventValidation {
    private let event: UnsafePointer<ep_event>
    private let names: NameArena

    @inline(__always)
    init(event: UnsafePointer<ep_event>, names: NameArena) {
        unsafe self.event = unsafe event
        unsafe self.names = names
    }

    @inline(__always)
    func fields(
        rules: EventRules, mayPost: (UnsafeRawBufferPointer) -> Bool
    ) throws(EventRejection) -> EventFields {
        // A newer version is welcome when what this one requires is there.
        try unsafe require(.schemaVersion)
        guard unsafe event.pointee.schema_version >= 1 else {
            throw EventField.schemaVersion.rejection
        }
        try unsafe require(.eventID)
        let id = try unsafe uniqueID(event.pointee.event_id, .eventID)
        let client = try unsafe name(
            event.pointee.client_id, .clientID, bytesMax: EventLimits.clientIDBytesMax)
        guard unsafe mayPost(client) else {
            throw EventField.clientID.rejection(
                "names a client that the sender may not speak for", code: .forbidden)
        }
        let target = try unsafe name(
            event.pointee.target, .target, bytesMax: EventLimits.targetBytesMax)
        try unsafe checkTimestamp(rules)

        var fields = unsafe EventFields(clientID: client, target: target)
        unsafe fields.id = id
        unsafe fields.measuredAtMilliseconds = event.pointee.ts_ms
        unsafe fields.receivedAtMilliseconds = rules.nowMilliseconds
        try unsafe readContext(into: &fields)
        try unsafe readMetrics(into: &fields)
        try unsafe readErrorStage(into: &fields)
        try unsafe readSequence(into: &fields)
        return unsafe fields
    }

    @inline(__always)
    private func has(_ field: EventField) -> Bool {
        unsafe event.pointee.present & (1 << UInt32(field.number)) != 0
    }

    @inline(__always)
    private func require(_ field: EventField) throws(EventRejection) {
        guard unsafe has(field) else { throw field.missing }
    }

    @inline(__always)
    private func bytes(_ text: ep_text) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: text.bytes, count: Int(text.count))
    }

    /// The one place where the names that make an event's key are accepted.
    ///
    /// Names are keyed on their bytes, so what is accepted here is in Normalization Form C, has no control
    /// characters (the parser has seen to that) and a bounded length.
    @inline(__always)
    private func name(
        _ text: ep_text, _ field: EventField, bytesMax: Int
    ) throws(EventRejection) -> UnsafeRawBufferPointer {
        try unsafe require(field)
        guard unsafe text.count > 0 else { throw field.rejection }
        return unsafe try canonicalForm(of: text, field, bytesMax: bytesMax)
    }

    @inline(__always)
    private func canonicalForm(
        of text: ep_text, _ field: EventField, bytesMax: Int
    ) throws(EventRejection) -> UnsafeRawBufferPointer {
        if unsafe text.is_ascii, unsafe Int(text.count) <= bytesMax { return unsafe bytes(text) }
        guard
            let form = unsafe names.canonicalForm(of: bytes(text), byteCountMax: bytesMax)
        else { throw field.rejection }
        return unsafe form
    }

    @inline(__always)
    private func uniqueID(
        _ text: ep_text, _ field: EventField
    ) throws(EventRejection) -> UniqueID {
        guard
            let id = unsafe UniqueID.parse(
                Span(_unsafeStart: text.bytes, count: Int(text.count)))
        else { throw field.rejection }
        return id
    }

    @inline(__always)
    private func checkTimestamp(_ rules: EventRules) throws(EventRejection) {
        try unsafe require(.timestamp)
        let measured = unsafe event.pointee.ts_ms
        // The parser keeps `ts_ms` within 2^53, so neither difference overflows for any real clock.
        let ahead = measured &- rules.nowMilliseconds
        if ahead > EventLimits.aheadMillisecondsMax {
            throw EventField.timestamp.rejection(
                "must not be more than \(EventLimits.aheadMillisecondsMax / 1000) s ahead of the "
                    + "server's clock")
        }
        if 0 &- ahead > rules.retentionMilliseconds {
            throw EventField.timestamp.rejection(
                "must not be older than the retention of "
                    + "\(rules.retentionMilliseconds / 86_400_000) days")
        }
    }

    @inline(__always)
    private func readContext(into fields: inout EventFields) throws(EventRejection) {
        guard unsafe has(.networkContext) else { return }
        unsafe fields.sourceIP = try context(event.pointee.source_ip, .sourceIP)
        unsafe fields.networkType = try context(event.pointee.network_type, .networkType)
        unsafe fields.isp = try context(event.pointee.isp, .isp)
        unsafe fields.region = try context(event.pointee.region, .region)
        unsafe fields.resolver = try context(event.pointee.resolver, .resolver)
        if unsafe has(.asn) {
            guard let asn = unsafe UInt32(exactly: event.pointee.asn) else {
                throw EventField.asn.rejection
            }
            unsafe fields.asn = asn
        }
    }

    /// An empty text says nothing, and so is absent.
    @inline(__always)
    private func context(
        _ text: ep_text, _ field: EventField
    ) throws(EventRejection) -> UnsafeRawBufferPointer? {
        guard unsafe text.count > 0 else { return nil }
        return unsafe try canonicalForm(
            of: text, field, bytesMax: EventLimits.contextBytesMax)
    }

    @inline(__always)
    private func readMetrics(into fields: inout EventFields) throws(EventRejection) {
        var rest = unsafe event.pointee.present >> UInt32(EP_FIRST_METRIC)
        while rest != 0 {
            let index = rest.trailingZeroBitCount
            rest &= rest &- 1
            guard let metric = Metric(rawValue: UInt8(truncatingIfNeeded: index)) else { return }
            let number = unsafe withUnsafeBytes(of: event.pointee.metrics) {
                unsafe $0.load(fromByteOffset: index &* 8, as: Double.self)
            }
            guard let value = MetricValue(number, of: metric) else {
                throw EventField(metric).rejection
            }
            unsafe fields.set(value, for: metric)
        }
    }

    /// No name of a stage is longer.
    private static let stageByteCountMax = 16

    @inline(__always)
    private func readErrorStage(into fields: inout EventFields) throws(EventRejection) {
        guard unsafe has(.errorStage) else { return }
        // Texts are compared in their normal form, whose cost has no other bound.
        guard unsafe event.pointee.error_stage.count <= Self.stageByteCountMax else {
            throw EventField.errorStage.rejection
        }
        let name = unsafe String(decoding: bytes(event.pointee.error_stage), as: UTF8.self)
        guard let stage = ErrorStage(name: name) else { throw EventField.errorStage.rejection }
        unsafe fields.errorStage = stage
    }

    /// A session without a number, or a number without a session, could not be told from a duplicate.
    @inline(__always)
    private func readSequence(into fields: inout EventFields) throws(EventRejection) {
        switch unsafe (has(.sessionID), has(.sequence)) {
        case (false, false): return
        case (true, false):
            throw EventField.sequence.rejection("is required when session_id is there")
        case (false, true):
            throw EventField.sessionID.rejection("is required when seq is there")
        case (true, true):
            let number = unsafe event.pointee.seq
            guard number >= 1, number <= Int64(SessionSequence.maximumNumber) else {
                throw EventField.sequence.rejection
            }
            unsafe fields.session = try uniqueID(event.pointee.session_id, .sessionID)
            unsafe fields.sequenceNumber = UInt64(number)
        }
    }
}
