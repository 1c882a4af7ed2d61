internal import FoundationEssentials

/// What ingest says to a batch, beyond its status.
package struct IngestAnswer: Sendable, Equatable, Decodable {
    /// An event that ingest will never take.
    package struct Reject: Sendable, Equatable, Decodable {
        /// The event's place in the batch.
        package let index: Int
        /// A code of ingest's documented set.
        package let error: String
        package let message: String?

        package init(index: Int, error: String, message: String? = nil) {
            self.index = index
            self.error = error
            self.message = message
        }
    }

    private struct Whole: Decodable {
        let code: String
    }

    package let rejected: [Reject]
    /// The code for the whole batch, when it was refused.
    package let error: String?

    private enum CodingKeys: String, CodingKey {
        case status, rejected, error, accepted
    }

    package init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: CodingKeys.self)
        rejected = try members.decodeIfPresent([Reject].self, forKey: .rejected) ?? []
        error = try members.decodeIfPresent(Whole.self, forKey: .error)?.code
        // Any JSON object would do otherwise, and only ingest's own word may discard events.
        guard
            members.contains(.status) || members.contains(.rejected) || members.contains(.error)
        else {
            throw DecodingError.keyNotFound(
                CodingKeys.status, .init(codingPath: [], debugDescription: "not from ingest"))
        }
    }

    /// The answer in a body; nil when it is not one of ingest's.
    package init?(body: [UInt8]) {
        guard let answer = try? JSONDecoder().decode(IngestAnswer.self, from: Data(body)) else {
            return nil
        }
        self = answer
    }
}
