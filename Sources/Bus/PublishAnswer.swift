internal import FoundationEssentials

/// What JetStream answers to a publish.
enum PublishAnswer: Equatable {
    case stored(sequence: UInt64)
    case failed(PublishError)
    /// Not an answer of JetStream's. Nothing is known about the message.
    case unreadable
}

extension PublishAnswer {
    /// Reads an answer.
    ///
    /// - Parameters:
    ///   - payload: The answer as received.
    ///   - status: Its `Status` header; the NATS server itself answers 503 when no stream takes
    ///     the subject.
    ///   - stream: The stream that must have stored the message.
    init(_ payload: UnsafeRawBufferPointer, status: String?, stream: String) {
        if let status {
            self = .failed(
                PublishError(
                    .refused,
                    status == "503"
                        ? "no stream takes the subject: JetStream is off, \(stream) is missing, "
                            + "or it has fewer partitions than this service"
                        : "the server answers with status \(status)"))
        } else if let sequence = Self.ordinarySequence(payload, stream: stream) {
            self = .stored(sequence: sequence)
        } else {
            self = Self.decode(payload, stream: stream)
        }
    }

    /// The sequence in the form that every server sends, `{"stream":"S", "seq":12}`.
    ///
    /// Anything else, which is rare, is left to the JSON decoder.
    private static func ordinarySequence(
        _ payload: UnsafeRawBufferPointer, stream: String
    ) -> UInt64? {
        var rest = payload[...]
        func skip(_ text: String.UTF8View) -> Bool {
            guard rest.starts(with: text) else { return false }
            rest = rest.dropFirst(text.count)
            return true
        }
        guard skip(#"{"stream":""#.utf8), skip(stream.utf8), skip("\",".utf8) else { return nil }
        _ = skip(" ".utf8)
        guard skip(#""seq":"#.utf8), rest.last == UInt8(ascii: "}") else { return nil }
        let sequence = decimal(rest.dropLast())
        return sequence == 0 ? nil : sequence
    }

    private struct Document: Decodable {
        struct Failure: Decodable {
            let code: Int?
            let err_code: Int?
            let description: String?
        }

        let stream: String?
        let seq: UInt64?
        let duplicate: Bool?
        let error: Failure?
    }

    private static func decode(_ payload: UnsafeRawBufferPointer, stream: String) -> PublishAnswer {
        guard payload.count <= answerByteCountMax,
            let document = try? JSONDecoder().decode(Document.self, from: Data(payload))
        else { return .unreadable }
        if let error = document.error {
            let code = error.err_code.map { " (JetStream error \($0))" } ?? ""
            return .failed(
                PublishError(.refused, (error.description ?? "refused without words") + code))
        }
        guard let sequence = document.seq, sequence > 0, let found = document.stream else {
            return .unreadable
        }
        guard found == stream else {
            return .failed(
                PublishError(.refused, "stream \(found) took what belongs to \(stream)"))
        }
        // We send no message ids, so somebody else's id matched: nothing says ours was stored.
        guard document.duplicate != true else {
            return .failed(PublishError(.refused, "taken for a duplicate"))
        }
        return .stored(sequence: sequence)
    }

    /// Longer answers are not JetStream's.
    private static var answerByteCountMax: Int { 64 << 10 }
}

/// The value of a run of decimal digits; `nil` when empty, not digits, or beyond 64 bits.
func decimal(_ digits: some Collection<UInt8>) -> UInt64? {
    guard !digits.isEmpty else { return nil }
    var value: UInt64 = 0
    for digit in digits {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
        let (tens, tooBig) = value.multipliedReportingOverflow(by: 10)
        let (sum, overflows) = tens.addingReportingOverflow(UInt64(digit &- UInt8(ascii: "0")))
        guard !tooBig, !overflows else { return nil }
        value = sum
    }
    return value
}
