internal import FoundationEssentials
internal import Postgres

/// A message by which a stream is recognised: a stream that was restored, truncated or re-created has
/// another message, or none, under the same sequence.
package struct StreamAnchor: Hashable, Sendable, Codable {
    package var sequence: UInt64
    /// The broker's time of the message, Unix nanoseconds.
    package var brokerNanoseconds: Int64
    /// XXH64 of the payload.
    package var payloadHash: UInt64

    package init(sequence: UInt64, brokerNanoseconds: Int64, payloadHash: UInt64) {
        self.sequence = sequence
        self.brokerNanoseconds = brokerNanoseconds
        self.payloadHash = payloadHash
    }

    private enum CodingKeys: String, CodingKey {
        case sequence = "seq"
        case brokerNanoseconds = "ts_ns"
        case payloadHash = "xxh64"
    }
}

extension [StreamAnchor] {
    /// The form of `partition_progress.anchors`.
    var json: PostgresJSON {
        // Encoding whole numbers cannot fail.
        let bytes = (try? JSONEncoder().encode(self)) ?? Data("[]".utf8)
        return PostgresJSON(String(decoding: bytes, as: UTF8.self))
    }

    init(json: PostgresJSON) throws(PostgresError) {
        do {
            self = try JSONDecoder().decode([StreamAnchor].self, from: Data(json.text.utf8))
        } catch {
            throw PostgresError(
                .unexpectedResult, "partition_progress.anchors is not a list of anchors")
        }
    }
}
