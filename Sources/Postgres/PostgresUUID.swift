/// A `uuid`: 128 bits, most significant first.
package struct PostgresUUID: Hashable, Sendable {
    /// The first eight bytes.
    package let high: UInt64
    /// The last eight bytes.
    package let low: UInt64

    /// Makes the value of two halves.
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
}

extension PostgresUUID: PostgresType {
    package static var typeID: PostgresTypeID { PostgresTypeID(rawValue: 2950) }
    package static var arrayTypeID: PostgresTypeID { PostgresTypeID(rawValue: 2951) }

    package func write(to buffer: inout [UInt8]) {
        buffer.appendBigEndian(high)
        buffer.appendBigEndian(low)
    }

    package init?(binary bytes: RawSpan) {
        guard bytes.byteCount == 16, let high = bytes.bigEndian(UInt64.self),
            let low = bytes.bigEndian(UInt64.self, at: 8)
        else { return nil }
        self.init(high: high, low: low)
    }
}
