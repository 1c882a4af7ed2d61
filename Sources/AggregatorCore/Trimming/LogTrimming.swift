package import Store

/// Which messages of a stream may go, so that it never fills up with what is in the tables already.
///
/// A full stream refuses what is new (discard new), so somebody must make room; and only what every partition has
/// committed may go. History is kept as long as there is room: a database that is restored or fails
/// over to a replica that lost its last commits continues from further back.
package enum LogTrimming {
    /// Trimming begins when this share of the stream's byte limit is used, 0 to 1.
    package static let fullShare = 0.5

    /// What a stream holds.
    package struct Extent: Hashable, Sendable {
        package var firstSequence: UInt64
        package var lastSequence: UInt64
        package var byteCount: UInt64
        /// 0 or less means without a limit.
        package var byteCountMax: Int64

        package init(
            firstSequence: UInt64, lastSequence: UInt64, byteCount: UInt64, byteCountMax: Int64
        ) {
            self.firstSequence = firstSequence
            self.lastSequence = lastSequence
            self.byteCount = byteCount
            self.byteCountMax = byteCountMax
        }
    }

    /// Whether the stream is full enough for trimming.
    package static func isDue(_ extent: Extent) -> Bool {
        extent.byteCountMax > 0
            && Double(extent.byteCount) >= fullShare * Double(extent.byteCountMax)
    }

    /// The sequence below which messages may be removed now, or nil when none may.
    ///
    /// The older half of what nobody needs: called again and again, that keeps the stream at
    /// ``fullShare`` with as much history as fits.
    ///
    /// Nothing may go either while messages are missing that somebody else has removed and a partition has not
    /// noticed yet: what is recorded as trimmed would cover that up.
    ///
    /// - Parameters:
    ///   - trimmedBelow: What aggregators have removed before; 0 when nothing.
    ///   - positions: Where every partition stands; a partition that is not among them pins everything.
    ///   - newest: The newest sequence of each partition's subject; a partition without any is not in it.
    package static func purgeBelow(
        _ extent: Extent, trimmedBelow: UInt64, partitionCount: Int, positions: [LogPosition],
        newest: [Int: UInt64]
    ) -> UInt64? {
        guard isDue(extent), extent.lastSequence > 0 else { return nil }
        if extent.firstSequence > max(1, trimmedBelow) {
            let noticed = positions.count { $0.committedSequence &+ 1 >= extent.firstSequence }
            guard noticed == partitionCount else { return nil }
        }
        var needed = extent.lastSequence &+ 1
        for partition in 0..<partitionCount {
            let position = positions.first { $0.partition == partition }
            let committed = position?.committedSequence ?? 0
            // An idle partition, with nothing beyond what is committed and no identifiers to
            // remember, needs nothing.
            guard let last = newest[partition] else { continue }
            if last <= committed, position?.isSettled == true { continue }
            needed = min(needed, committed &+ 1, position?.replayFromSequence ?? 1)
        }
        guard needed > extent.firstSequence else { return nil }
        // Rounded up, so that a single message can go.
        return extent.firstSequence &+ (needed &- extent.firstSequence &+ 1) / 2
    }
}
