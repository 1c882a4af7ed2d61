/// Something a measurement found beside its metrics, for `probe once` and for logs.
///
/// Details do not reach SQL: an event carries its ten metrics and the stage of its error.
package struct MeasurementDetail: Sendable, Equatable {
    package enum Value: Sendable, Equatable {
        case text(String)
        case integer(Int)
        /// Of a finite number.
        case number(Double)
        case boolean(Bool)
        case integers([Int])
    }

    /// In the style of the event's members, its unit at the end: `rtt_p95_ms`.
    package let name: String
    package let value: Value

    package init(_ name: String, _ value: Value) {
        self.name = name
        self.value = value
    }
}
