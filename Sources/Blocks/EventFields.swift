package import Telemetry

/// One event as borrowed bytes, the form in which it is handed to a ``BlockBuilder``.
///
/// The texts point into memory of whoever parsed the event; they must stay valid until the call that
/// takes this value returns. Nil is absent.
@unsafe package struct EventFields {
    package var id: UniqueID = .zero
    package var clientID: UnsafeRawBufferPointer
    package var target: UnsafeRawBufferPointer
    package var measuredAtMilliseconds: Int64 = 0
    package var receivedAtMilliseconds: Int64 = 0
    /// The session, when the event is numbered.
    package var session: UniqueID?
    /// 1 to 2^53 when ``session`` is present, otherwise 0.
    package var sequenceNumber: UInt64 = 0
    package var errorStage: ErrorStage?
    /// Bit *n* says whether `values[n]` was measured.
    package var mask: UInt16 = 0
    /// Millionths, by the metric's raw value.
    package var values = InlineArray<10, UInt64>(repeating: 0)
    package var sourceIP: UnsafeRawBufferPointer?
    package var networkType: UnsafeRawBufferPointer?
    package var isp: UnsafeRawBufferPointer?
    package var region: UnsafeRawBufferPointer?
    package var resolver: UnsafeRawBufferPointer?
    package var asn: UInt32?

    package init(clientID: UnsafeRawBufferPointer, target: UnsafeRawBufferPointer) {
        unsafe self.clientID = unsafe clientID
        unsafe self.target = unsafe target
    }

    /// Records the value of a metric.
    package mutating func set(_ value: MetricValue, for metric: Metric) {
        unsafe mask |= 1 << UInt16(metric.rawValue)
        unsafe values[Int(metric.rawValue)] = value.millionths
    }
}
