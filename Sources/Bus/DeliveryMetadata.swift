/// What JetStream says about a message it delivers, in the message's reply subject.
///
/// Two forms exist (nats-server ADR-15):
///
///     $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>
///     $JS.ACK.<domain>.<account>.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>
///         .<time>.<pending>[.<random>]
struct DeliveryMetadata: Equatable {
    let stream: String
    let consumer: String
    let streamSequence: UInt64
    let consumerSequence: UInt64
    /// When the stream's leader stored the message, Unix time.
    let timestampNanoseconds: Int64
    /// How many messages the consumer has still to deliver after this one.
    let pendingCount: UInt64

    /// Reads a reply subject; `nil` when it is not one of the forms.
    init?(replySubject: String) {
        let tokens = replySubject.utf8.split(
            separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        // Later servers may append tokens to the longer form.
        let names: Int
        switch tokens.count {
        case 9: names = 2
        case 11...: names = 4
        default: return nil
        }
        guard tokens[0].elementsEqual("$JS".utf8), tokens[1].elementsEqual("ACK".utf8),
            let stream = String(tokens[names]), !stream.isEmpty,
            let consumer = String(tokens[names + 1]), !consumer.isEmpty,
            let streamSequence = decimal(tokens[names + 3]), streamSequence > 0,
            let consumerSequence = decimal(tokens[names + 4]), consumerSequence > 0,
            let timestamp = decimal(tokens[names + 5]).flatMap({ Int64(exactly: $0) }),
            let pendingCount = decimal(tokens[names + 6])
        else { return nil }
        self.stream = stream
        self.consumer = consumer
        self.streamSequence = streamSequence
        self.consumerSequence = consumerSequence
        timestampNanoseconds = timestamp
        self.pendingCount = pendingCount
    }
}

/// What a server answers to a pull request instead of a message (nats-server ADR-13).
enum PullStatus: Equatable {
    /// There is nothing to deliver; as of the consumer sequence that was delivered last.
    case idle(lastConsumerSequence: UInt64?)
    /// The request is used up or has expired.
    case ended
    /// The next message does not fit into what is left of the request's bytes.
    case outOfBytes
    /// There is no such consumer any more.
    case consumerGone
    /// The request was not taken; another may be.
    case refused

    /// Reads the status headers of a message; `nil` when it has none.
    init?(status: String?, description: String?, lastConsumerSequence: String?) {
        guard let status else { return nil }
        let description = description?.lowercased() ?? ""
        switch status {
        case "100":
            self = .idle(lastConsumerSequence: lastConsumerSequence.flatMap { decimal($0.utf8) })
        case "404", "408":
            self = .ended
        case "409" where description.contains("maxbytes") && description.contains("size"):
            self = .outOfBytes
        case "409" where description.contains("consumer deleted"), "503":
            self = .consumerGone
        default:
            self = .refused
        }
    }
}
