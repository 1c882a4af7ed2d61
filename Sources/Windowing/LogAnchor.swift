/// A message by which a stream is recognised: a stream that was restored, truncated or made anew has
/// another message, or none, under the same sequence.
package struct LogAnchor: Hashable, Sendable, Codable {
    package var sequence: UInt64
    /// The broker's time of the message, Unix milliseconds.
    package var brokerMilliseconds: Int64
    /// XXH64 of the payload.
    package var payloadHash: UInt64

    package init(sequence: UInt64, brokerMilliseconds: Int64, payloadHash: UInt64) {
        self.sequence = sequence
        self.brokerMilliseconds = brokerMilliseconds
        self.payloadHash = payloadHash
    }

    private enum CodingKeys: String, CodingKey {
        case sequence = "seq"
        case brokerMilliseconds = "ts_ms"
        case payloadHash = "xxh64"
    }
}

/// The anchors kept of a partition: the newest ones, and ever fewer of older ones.
///
/// At most two of every power of two of distances from the newest, so that wherever a stream was cut, an anchor
/// lies before the cut at no more than twice its distance; about 40 for a million messages.
package struct AnchorTrail: Hashable, Sendable {
    /// Newest first, sequences descending.
    package private(set) var anchors: [LogAnchor]

    /// - Parameter anchors: In any order, as they were stored.
    package init(_ anchors: [LogAnchor] = []) {
        self.anchors = anchors.sorted { $0.sequence > $1.sequence }
    }

    package var newest: LogAnchor? { anchors.first }

    /// Adds the anchor of a message, dropping those that stand where it does or beyond.
    package mutating func append(_ anchor: LogAnchor) {
        anchors.removeAll { $0.sequence >= anchor.sequence }
        anchors.insert(anchor, at: 0)
        thin()
    }

    /// Of each power of two the nearest and the farthest stay: as distances grow, the farthest moves on into the
    /// next power and the nearest is what takes its place.
    private mutating func thin() {
        guard let newest else { return }
        func power(_ anchor: LogAnchor) -> Int {
            UInt64.bitWidth - (newest.sequence &- anchor.sequence).leadingZeroBitCount
        }
        var kept: [LogAnchor] = []
        for (index, anchor) in anchors.enumerated() {
            let isNearest = index == 0 || power(anchors[index - 1]) != power(anchor)
            let isFarthest =
                index + 1 == anchors.count || power(anchors[index + 1]) != power(anchor)
            if isNearest || isFarthest { kept.append(anchor) }
        }
        anchors = kept
    }
}
