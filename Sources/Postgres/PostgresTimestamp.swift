/// A `timestamptz`: microseconds since 1970-01-01 00:00 UTC.
///
/// PostgreSQL's `infinity` and `-infinity` read as ``distantFuture`` and ``distantPast``.
package struct PostgresTimestamp: Hashable, Comparable, Sendable {
    /// Microseconds since the Unix epoch.
    package let microseconds: Int64

    /// Makes the instant `microseconds` after the Unix epoch.
    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    /// Makes the instant `milliseconds` after the Unix epoch, clamped to what fits.
    package init(milliseconds: Int64) {
        let (product, overflow) = milliseconds.multipliedReportingOverflow(by: 1_000)
        microseconds = overflow ? (milliseconds < 0 ? .min : .max) : product
    }

    /// Milliseconds since the Unix epoch, rounded down.
    package var milliseconds: Int64 {
        let (quotient, remainder) = microseconds.quotientAndRemainder(dividingBy: 1_000)
        return remainder < 0 ? quotient - 1 : quotient
    }

    /// `infinity`.
    package static let distantFuture = PostgresTimestamp(microseconds: .max)
    /// `-infinity`.
    package static let distantPast = PostgresTimestamp(microseconds: .min)

    package static func < (left: PostgresTimestamp, right: PostgresTimestamp) -> Bool {
        left.microseconds < right.microseconds
    }
}

extension PostgresTimestamp: PostgresType {
    package static var typeID: PostgresTypeID { PostgresTypeID(rawValue: 1184) }
    package static var arrayTypeID: PostgresTypeID { PostgresTypeID(rawValue: 1185) }

    /// 2000-01-01 00:00 UTC, from which PostgreSQL counts.
    private static let epochMicroseconds: Int64 = 946_684_800_000_000

    package func write(to buffer: inout [UInt8]) {
        let (shifted, overflow) = microseconds.subtractingReportingOverflow(Self.epochMicroseconds)
        let wire = self == .distantFuture ? .max : overflow ? .min : shifted
        wire.write(to: &buffer)
    }

    package init?(binary bytes: RawSpan) {
        guard let wire = Int64(binary: bytes) else { return nil }
        let (shifted, overflow) = wire.addingReportingOverflow(Self.epochMicroseconds)
        microseconds = wire == .min ? .min : overflow ? .max : shifted
    }
}
