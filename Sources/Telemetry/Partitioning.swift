/// How clients are divided among partitions.
///
/// The partition of an event is `XXH64(UTF-8 bytes of client_id, seed 0) mod count`. One client is one
/// partition, so that what is known about a probe lives in one place. The count belongs to a stream
/// and never changes during its life.
package struct Partitioning: Hashable, Sendable {
    /// How many partitions there are, at least 1.
    package let count: Int

    /// The count of a stream that is created without saying otherwise.
    package static let defaultCount = 16
    /// The largest count: each partition costs every aggregator a consumer and a transaction.
    package static let maximumCount = 1024

    /// Nil unless `count` is 1 to ``maximumCount``.
    package init?(count: Int) {
        guard (1...Self.maximumCount).contains(count) else { return nil }
        self.count = count
    }

    /// ``defaultCount`` partitions.
    package static let standard = Partitioning(uncheckedCount: defaultCount)

    private init(uncheckedCount: Int) {
        count = uncheckedCount
    }

    /// The partition of a client, 0 to ``count`` − 1.
    package func partition(ofClient name: UnsafeRawBufferPointer) -> Int {
        unsafe Int(XXHash64.hash(name) % UInt64(count))
    }

    /// The partition of a client, 0 to ``count`` − 1.
    package func partition(ofClient name: String) -> Int {
        Int(XXHash64.hash(name) % UInt64(count))
    }
}
