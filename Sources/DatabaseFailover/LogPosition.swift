/// A place in the write-ahead log (`pg_lsn`): bytes since its beginning.
package struct LogPosition: Sendable, Hashable, Comparable, CustomStringConvertible {
    package let bytes: UInt64

    package init(bytes: UInt64) { self.bytes = bytes }

    /// Reads `16/B374D848`; nil when it is none.
    package init?(_ text: some StringProtocol) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, let high = UInt32(halves[0], radix: 16),
            let low = UInt32(halves[1], radix: 16)
        else { return nil }
        bytes = UInt64(high) << 32 | UInt64(low)
    }

    package static func < (left: Self, right: Self) -> Bool { left.bytes < right.bytes }

    /// Bytes from `other` up to here; 0 when it is further.
    package func distance(from other: Self) -> UInt64 {
        bytes > other.bytes ? bytes &- other.bytes : 0
    }

    package var description: String {
        let high = String(bytes >> 32, radix: 16, uppercase: true)
        return "\(high)/\(String(bytes & 0xFFFF_FFFF, radix: 16, uppercase: true))"
    }
}
