import TestKit
import Testing

@testable import Bus

struct PublishAnswerTests {
    @Test func `the ordinary forms of an acknowledgement are read`() {
        for text in [
            #"{"stream":"S", "seq":12}"#, #"{"stream":"S","seq":12}"#,
            #"{"stream":"S", "domain":"d", "seq":12}"#,
        ] {
            #expect(answer(text) == .stored(sequence: 12))
        }
        #expect(
            answer(#"{"stream":"S", "seq":18446744073709551615}"#) == .stored(sequence: .max))
    }

    @Test func `an error is a refusal with JetStream's words and code`() {
        let text = """
            {"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},\
            "stream":"S","seq":0}
            """
        guard case .failed(let error) = answer(text) else {
            Issue.record("not read as an error")
            return
        }
        #expect(error.code == .refused)
        #expect(error.text.contains("maximum bytes exceeded"))
        #expect(error.text.contains("10077"))
    }

    @Test func `a duplicate or another stream is not an acknowledgement`() {
        for text in [
            #"{"stream":"S", "seq":12, "duplicate": true}"#, #"{"stream":"T", "seq":12}"#,
        ] {
            guard case .failed = answer(text) else {
                Issue.record("\(text) was taken for an acknowledgement")
                continue
            }
        }
    }

    @Test(arguments: [
        "", "{", "{}", "+OK", #"{"stream":"S"}"#, #"{"stream":"S", "seq":}"#,
        #"{"stream":"S", "seq":-1}"#, #"{"stream":"S", "seq":0}"#,
        #"{"stream":"S", "seq":18446744073709551616}"#, #"{"stream":"S", "seq":1"#,
        #"{"stream":"S", "seq":"1"}"#, #"{"seq":1}"#, #"{"error":7}"#, #"[1,2]"#, "null",
    ])
    func `garbage is unreadable`(text: String) {
        #expect(answer(text) == .unreadable)
    }

    @Test func `random damage to an acknowledgement never traps`() {
        let seed = UInt64.random(in: .min ... .max)
        var generator = SeededGenerator(seed: seed)
        let original = Array(#"{"stream":"S", "seq":1234567}"#.utf8)
        for _ in 0..<5_000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let index = Int.random(in: 0..<bytes.count, using: &generator)
                bytes[index] = UInt8.random(in: .min ... .max, using: &generator)
            }
            bytes.removeLast(Int.random(in: 0...3, using: &generator))
            let answer = bytes.withUnsafeBytes { PublishAnswer($0, status: nil, stream: "S") }
            if case .stored(let sequence) = answer {
                #expect(sequence > 0, "seed \(seed)")
            }
        }
    }

    @Test func `the token of an answer's subject is read back or refused`() {
        let token = AnswerToken(lane: 3, number: 77)
        #expect(AnswerToken(subject: "_INBOX.abc.\(token)") == token)
        for subject in [
            "", ".", "_INBOX.abc.3", "_INBOX.abc.3-", "_INBOX.abc.-7", "a.3-7-1", "3-x",
        ] {
            #expect(AnswerToken(subject: subject) == nil)
        }
    }

    private func answer(_ text: String) -> PublishAnswer {
        Array(text.utf8).withUnsafeBytes { PublishAnswer($0, status: nil, stream: "S") }
    }
}
