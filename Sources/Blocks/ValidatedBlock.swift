internal import Telemetry

/// A block's bytes, checked once and then readable any number of times.
package struct ValidatedBlock: Sendable {
    private let bytes: [UInt8]
    package let eventCount: Int

    /// Checks `bytes` as ``BlockReader/init(validating:)`` does.
    package init(_ bytes: [UInt8]) throws(BlockError) {
        let span = unsafe bytes.span.bytes
        eventCount = try unsafe span.withUnsafeBytes { buffer throws(BlockError) -> Int in
            unsafe try BlockReader(validating: buffer).eventCount
        }
        self.bytes = bytes
    }

    /// Calls `body` with a view that is valid until it returns.
    package func withReader<Result, Failure: Error>(
        _ body: (BlockReader) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try unsafe bytes.span.bytes.withUnsafeBytes { buffer throws(Failure) in
            unsafe try body(BlockReader(alreadyValidated: buffer))
        }
    }
}
