/// The limits of an event's fields: what `ingest` enforces and readers of blocks check again.
package enum EventLimits {
    /// Longest `client_id`, bytes of UTF-8.
    package static let clientIDBytesMax = 255
    /// Longest `target`, bytes of UTF-8.
    package static let targetBytesMax = 255
    /// Longest text in `network_context`, bytes of UTF-8.
    package static let contextBytesMax = 128
    /// Longest of all names, bytes of UTF-8.
    package static let nameBytesMax = max(clientIDBytesMax, targetBytesMax, contextBytesMax)
    /// How far `ts_ms` may be ahead of the server's clock, ms.
    package static let aheadMillisecondsMax: Int64 = 5 * 60 * 1000
    /// The default retention of `agg_1m`, ms: older events have no partition to go to.
    package static let retentionMillisecondsDefault: Int64 = 30 * 24 * 3600 * 1000
    /// An event counts as late when it is received this long after its window's end, ms.
    package static let lateAfterMilliseconds: Int64 = 2 * 60 * 1000
    /// The length of a window, ms.
    package static let windowMilliseconds: Int64 = 60 * 1000
}
