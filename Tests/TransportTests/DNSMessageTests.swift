import TestKit
import Testing

@testable import Transport

@Suite struct DNSMessageTests {
    private let question = DNSQuestion(
        name: DNSName(wire: Array("\u{3}www\u{7}example\u{3}com\u{0}".utf8)), type: 1)

    @Test func `a question is what RFC 1035 and RFC 6891 say`() {
        #expect(
            question.message(id: 0xABCD) == [
                0xAB, 0xCD, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1,
                3, 119, 119, 119, 7, 101, 120, 97, 109, 112, 108, 101, 3, 99, 111, 109, 0,
                0, 1, 0, 1,
                0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0,
            ])
    }

    @Test func `names have labels of 1 to 63 bytes and 255 in all`() {
        #expect(DNSName("Example.COM.")?.wire == DNSName("example.com")?.wire)
        #expect(DNSName(".")?.wire == [0])
        let label = String(repeating: "a", count: 63)
        #expect(DNSName(label) != nil)
        #expect(DNSName(label + "a") == nil)
        // Three labels of 64 bytes and one of 62 with their lengths, and the root's.
        #expect(DNSName("\(label).\(label).\(label).\(label.dropLast(2))")?.wire.count == 255)
        #expect(DNSName("\(label).\(label).\(label).\(label.dropLast())") == nil)
        for text in ["", "..", ".a", "a..b", "a.."] { #expect(DNSName(text) == nil, "\(text)") }
    }

    @Test func `an answer with aliases, addresses and EDNS is read`() throws {
        let answer = try DNSAnswer(goodAnswer, to: question, id: 7)
        #expect(answer.code == .noError)
        #expect(answer.records.map(\.type) == [5, 1, 1])
        #expect(answer.records.compactMap(\.address) == ["192.0.2.1", "192.0.2.2"])
        #expect(answer.timeToLiveMin == 30)
        #expect(answer.isAuthenticated && answer.isRecursionAvailable)
        #expect(!answer.isAuthoritative && !answer.isTruncated)
    }

    @Test func `the question is compared without regard to case`() {
        var message = goodAnswer
        message[13] = UInt8(ascii: "W")
        #expect(question.isAnswered(by: message, id: 7))
        message[13] = UInt8(ascii: "v")
        #expect(!question.isAnswered(by: message, id: 7))
    }

    @Test func `what does not answer the question is foreign`() {
        #expect(question.isAnswered(by: goodAnswer, id: 7))
        #expect(!question.isAnswered(by: goodAnswer, id: 8))
        #expect(!question.isAnswered(by: question.message(id: 7), id: 7), "a question")
        let other = DNSQuestion(name: question.name, type: 28)
        #expect(!other.isAnswered(by: goodAnswer, id: 7), "another type")
        // Another class, another operation, two questions, none.
        for (place, value) in [(32, 3), (2, 0x90), (5, 2), (5, 0)] as [(Int, UInt8)] {
            var message = goodAnswer
            message[place] = value
            #expect(!question.isAnswered(by: message, id: 7), "byte \(place)")
        }
        // Whatever ends within the header or the question.
        for count in 0..<33 {
            #expect(!question.isAnswered(by: Array(goodAnswer.prefix(count)), id: 7))
        }
    }

    @Test func `only a server that did not understand may leave the question out`() {
        for (code, isAnswer) in [(0, false), (1, true), (2, true), (3, false), (5, true)] {
            let message: [UInt8] = [0, 7, 0x81, 0x80 | UInt8(code), 0, 0, 0, 0, 0, 0, 0, 0]
            #expect(question.isAnswered(by: message, id: 7) == isAnswer, "code \(code)")
        }
    }

    @Test func `the upper bits of the code come from EDNS`() throws {
        var message = goodAnswer
        // The OPT record ends the message; its time to live is six bytes before the end.
        message[message.count - 6] = 1
        #expect(try DNSAnswer(message, to: question, id: 7).code.description == "BADVERS")
        message[message.count - 6] = 2
        #expect(try DNSAnswer(message, to: question, id: 7).code.description == "RCODE32")
    }

    @Test func `a truncated answer is read to its question and no further`() throws {
        var message = goodAnswer
        message[2] |= 0x02
        let answer = try DNSAnswer(message.dropping(message.count - 40), to: question, id: 7)
        #expect(answer.isTruncated)
        #expect(answer.records.isEmpty)
    }

    @Test func `pointers that lead forward or in a circle are malformed`() {
        // The first record's name, behind the header and the question.
        let place = 33
        #expect(goodAnswer[place] == 0xC0)
        for target in [33, 34, 40, 0x3FFF] {
            var message = goodAnswer
            message[place] = 0xC0 | UInt8(target >> 8)
            message[place + 1] = UInt8(target & 0xFF)
            #expect(throws: DNSAnswer.Fault.self, "to \(target)") {
                try DNSAnswer(message, to: question, id: 7)
            }
        }
    }

    @Test func `a pointer behind labels cannot lead into its own name`() {
        var message = Array(question.message(id: 7).dropLast(11))
        message.replaceSubrange(2..<12, with: [0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])
        let start = UInt8(message.count)
        message += [1, 97, 0xC0, start, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]
        #expect(throws: DNSAnswer.Fault.self) { try DNSAnswer(message, to: question, id: 7) }
    }

    @Test func `counts beyond the message are malformed, whatever they promise`() {
        for place in [6, 8, 10] {
            var message = goodAnswer
            message[place] = 0xFF
            message[place + 1] = 0xFF
            #expect(throws: DNSAnswer.Fault.self) { try DNSAnswer(message, to: question, id: 7) }
        }
    }

    @Test func `every cut of an answer is foreign or malformed`() {
        for count in 1..<goodAnswer.count {
            let cut = goodAnswer.dropping(count)
            #expect(throws: DNSAnswer.Fault.self, "\(count) bytes off") {
                try DNSAnswer(cut, to: question, id: 7)
            }
        }
    }

    @Test(arguments: 0..<40 as Range<UInt64>)
    func `no mutation of an answer can do harm`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var read = 0
        for _ in 0..<2000 {
            var message = goodAnswer
            for _ in 0...random.next() % 4 {
                let place = Int(random.next() % UInt64(max(1, message.count)))
                switch random.next() % 7 {
                case 0 where !message.isEmpty:
                    message[place] = UInt8(truncatingIfNeeded: random.next())
                case 1 where !message.isEmpty: message[place] ^= 1 << UInt8(random.next() % 8)
                case 2 where !message.isEmpty: message[place] = 0xC0 | UInt8(random.next() % 2)
                case 3: message = Array(message.prefix(place))
                case 4:
                    message.insert(
                        UInt8(truncatingIfNeeded: random.next()), at: min(place, message.count))
                case 5: message += message.suffix(place)
                default:
                    message.removeSubrange(
                        min(place, message.count)..<min(place + 3, message.count))
                }
            }
            _ = question.isAnswered(by: message, id: 7)
            guard let answer = try? DNSAnswer(message, to: question, id: 7) else { continue }
            read += 1
            // A record has 11 bytes at least.
            #expect(answer.records.count * 11 <= message.count)
        }
        #expect(read > 0, "all were malformed: the mutations do not reach far")
    }

    /// To `www.example.com`: an alias, two addresses, and an OPT record.
    private var goodAnswer: [UInt8] {
        var message = Array(question.message(id: 7).dropLast(11))
        message.replaceSubrange(2..<12, with: [0x81, 0xA0, 0, 1, 0, 3, 0, 0, 0, 1])
        let canonical = UInt8(message.count + 12)
        message += [0xC0, 12, 0, 5, 0, 1, 0, 0, 1, 44, 0, 6, 3, 99, 100, 110, 0xC0, 16]
        message += [0xC0, canonical, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]
        message += [0xC0, canonical, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 2]
        message += [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0]
        return message
    }
}

extension [UInt8] {
    fileprivate func dropping(_ count: Int) -> [UInt8] { Array(dropLast(count)) }
}
