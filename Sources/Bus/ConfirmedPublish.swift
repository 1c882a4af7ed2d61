internal import FoundationEssentials
package import NATSClient

/// What JetStream did with a message that was published alone.
package enum ConfirmedPublish: Equatable, Sendable {
    case stored(sequence: UInt64)
    /// Its `Nats-Msg-Id` belongs to a message that JetStream believes to have under this sequence.
    case known(sequence: UInt64)
}

/// Publishes one message and waits until JetStream has stored it. Blocks.
///
/// For messages that come one by one and may come twice; events of `ingest` go through ``BlockPublisher``.
///
/// - Throws: After `.timeout` and `.unavailable` the message may be stored nevertheless.
package func publishConfirmed(
    _ payload: [UInt8], to subject: String, stream: String,
    headers: [(name: String, value: String)] = [], over connection: NATSConnection,
    within limit: Duration
) throws(PublishError) -> ConfirmedPublish {
    guard connection.isConnected else {
        throw PublishError(.unavailable, "there is no connection to NATS")
    }
    let headerByteCount = headers.reduce(0) {
        $0 + $1.name.utf8.count + $1.value.utf8.count + headerOverhead
    }
    guard payload.count + headerByteCount <= connection.maxPayloadBytes else {
        throw PublishError(
            .tooLarge,
            "\(payload.count) bytes and \(headerByteCount) of headers exceed the server's "
                + "max_payload of \(connection.maxPayloadBytes)")
    }
    let reply: NATSMessage
    do throws(NATSError) {
        reply = try connection.request(
            subject, payload: payload, headers: headers, timeout: limit)
    } catch {
        switch error.code {
        case .timeout:
            throw PublishError(.timeout, "JetStream did not acknowledge within \(limit)")
        case .noResponders:
            throw PublishError(
                .refused, "no stream takes \(subject): JetStream is off or \(stream) is missing")
        default:
            throw PublishError(.unavailable, "\(error)")
        }
    }
    if let sequence = knownSequence(reply, stream: stream) { return .known(sequence: sequence) }
    let answer = reply.withUnsafePayload {
        PublishAnswer($0, status: reply.header("Status"), stream: stream)
    }
    switch answer {
    case .stored(let sequence): return .stored(sequence: sequence)
    case .failed(let error): throw error
    case .unreadable:
        throw PublishError(.refused, "what answers on \(subject) is not JetStream")
    }
}

/// What a header takes besides its name and value, with a share of the first line.
private let headerOverhead = 16

/// The sequence in an answer that says "duplicate".
private func knownSequence(_ reply: NATSMessage, stream: String) -> UInt64? {
    struct Answer: Decodable {
        let stream: String?
        let seq: UInt64?
        let duplicate: Bool?
    }
    let payload = reply.withUnsafePayload { Data($0) }
    guard let answer = try? JSONDecoder().decode(Answer.self, from: payload),
        answer.duplicate == true, answer.stream == stream
    else { return nil }
    return answer.seq
}
