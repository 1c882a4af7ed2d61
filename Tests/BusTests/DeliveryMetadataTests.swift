import TestKit
import Testing

@testable import Bus

struct DeliveryMetadataTests {
    @Test(arguments: [
        "$JS.ACK.S.C.1.20.3.1700000000000000001.4",
        "$JS.ACK.hub.ACCHASH.S.C.1.20.3.1700000000000000001.4",
        "$JS.ACK._.ACCHASH.S.C.1.20.3.1700000000000000001.4.random",
    ])
    func `every form of the reply subject is read`(subject: String) throws {
        let metadata = try #require(DeliveryMetadata(replySubject: subject))
        #expect(metadata.stream == "S")
        #expect(metadata.consumer == "C")
        #expect(metadata.streamSequence == 20)
        #expect(metadata.consumerSequence == 3)
        #expect(metadata.timestampNanoseconds == 1_700_000_000_000_000_001)
        #expect(metadata.pendingCount == 4)
    }

    @Test(arguments: [
        "", ".", "........", "$JS.ACK", "$JS.ACK.S.C.1.20.3.17", "$JS.ACK.S.C.1.20.3.17.4.5",
        "$JS.API.S.C.1.20.3.17.4", "$JS.ACK..C.1.20.3.17.4", "$JS.ACK.S.C.1.0.3.17.4",
        "$JS.ACK.S.C.1.20.0.17.4", "$JS.ACK.S.C.1.-2.3.17.4", "$JS.ACK.S.C.1.20.3.x.4",
        "$JS.ACK.S.C.1.18446744073709551616.3.17.4", "$JS.ACK.S.C.1.20.3.9223372036854775808.4",
        "$JS.ACK.S.C.1.20.3.17.", "_INBOX.abc.0-1",
    ])
    func `anything else is refused`(subject: String) {
        #expect(DeliveryMetadata(replySubject: subject) == nil)
    }

    @Test func `random text never traps`() {
        let seed = UInt64.random(in: .min ... .max)
        var generator = SeededGenerator(seed: seed)
        let alphabet = Array("$JS.ACK0189-. é\u{0}")
        for _ in 0..<5_000 {
            let length = Int.random(in: 0..<40, using: &generator)
            let tail = String(
                (0..<length).map { _ in
                    alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
                })
            _ = DeliveryMetadata(replySubject: "$JS.ACK." + tail)
            _ = AnswerToken(subject: tail)
            _ = PullStatus(status: tail, description: tail, lastConsumerSequence: tail)
        }
    }

    @Test func `statuses are told apart`() {
        func status(_ code: String?, _ description: String?, last: String? = nil) -> PullStatus? {
            PullStatus(status: code, description: description, lastConsumerSequence: last)
        }
        #expect(status("100", "Idle Heartbeat", last: "7") == .idle(lastConsumerSequence: 7))
        #expect(status("100", nil, last: "x") == .idle(lastConsumerSequence: nil))
        #expect(status("404", "No Messages") == .ended)
        #expect(status("408", "Request Timeout") == .ended)
        #expect(status("409", "Message Size Exceeds MaxBytes") == .outOfBytes)
        #expect(status("409", "Consumer Deleted") == .consumerGone)
        #expect(status("409", "Exceeded MaxRequestMaxBytes of 100") == .refused)
        #expect(status("409", "Leadership Change") == .refused)
        #expect(status("503", nil) == .consumerGone)
        #expect(status("999", "?") == .refused)
        #expect(status(nil, "no status") == nil)
    }
}
