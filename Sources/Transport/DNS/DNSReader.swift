/// Reads the parts of a DNS message in their order, and nothing beyond its end.
struct DNSReader {
    struct Header {
        let id: UInt16
        let flags: UInt16
        let questions: UInt16
        let answers: UInt16
        let authorities: UInt16
        let additionals: UInt16

        /// Without the upper bits of EDNS.
        var basicCode: DNSResponseCode { DNSResponseCode(number: flags & DNSHeader.codeMask) }
    }

    struct Record {
        let type: UInt16
        let timeToLive: UInt32
        let data: ArraySlice<UInt8>
    }

    private let message: [UInt8]
    private var offset = 0

    init(_ message: [UInt8]) {
        self.message = message
    }

    /// The header of an answer to `question`, which is read too; nil when the message is none.
    mutating func headOfAnswer(to question: DNSQuestion, id: UInt16) -> Header? {
        guard let head = header(), head.id == id, head.flags & DNSHeader.response != 0,
            head.flags & DNSHeader.operationMask == 0
        else { return nil }
        switch head.questions {
        case 0: return head.basicCode.comesWithoutQuestion ? head : nil
        case 1:
            guard let echoed = self.question(), echoed.name == question.name,
                echoed.type == question.type, echoed.class == DNSQuestion.internetClass
            else { return nil }
            return head
        default: return nil
        }
    }

    /// Nil when the message is shorter than a header.
    mutating func header() -> Header? {
        guard let id = integer16(), let flags = integer16(), let questions = integer16(),
            let answers = integer16(), let authorities = integer16(), let additionals = integer16()
        else { return nil }
        return Header(
            id: id, flags: flags, questions: questions, answers: answers,
            authorities: authorities, additionals: additionals)
    }

    mutating func question() -> (name: DNSName, type: UInt16, class: UInt16)? {
        guard let name = name(), let type = integer16(), let kind = integer16() else { return nil }
        return (name, type, kind)
    }

    mutating func record() -> Record? {
        guard name() != nil, let type = integer16(), integer16() != nil,
            let high = integer16(), let low = integer16(), let count = integer16(),
            Int(count) <= message.count - offset
        else { return nil }
        let data = message[offset..<offset + Int(count)]
        offset += Int(count)
        return Record(type: type, timeToLive: UInt32(high) << 16 | UInt32(low), data: data)
    }

    /// The name that begins here, its pointers followed (RFC 1035, section 4.1.4).
    ///
    /// A pointer must lead before where the part that it ends began, so every jump goes further back and none is
    /// made twice.
    private mutating func name() -> DNSName? {
        var wire: [UInt8] = []
        var position = offset
        var partStart = offset
        var end: Int?
        while true {
            guard position < message.count else { return nil }
            let length = message[position]
            switch length {
            case 0:
                wire.append(0)
                offset = end ?? position + 1
                return wire.count <= DNSName.wireBytesMax ? DNSName(wire: wire) : nil
            case 1...UInt8(DNSName.labelBytesMax):
                let next = position + 1 + Int(length)
                guard next <= message.count, wire.count + Int(length) < DNSName.wireBytesMax else {
                    return nil
                }
                wire.append(length)
                wire += message[position + 1..<next].map(Self.lowercase)
                position = next
            case 0xC0...:
                guard position + 1 < message.count else { return nil }
                let target = Int(length & 0x3F) << 8 | Int(message[position + 1])
                guard target < partStart else { return nil }
                if end == nil { end = position + 2 }
                position = target
                partStart = target
            default:
                // Kinds of labels that were never put to use (RFC 6891, section 5).
                return nil
            }
        }
    }

    private mutating func integer16() -> UInt16? {
        guard message.count - offset >= 2 else { return nil }
        defer { offset += 2 }
        return UInt16(message[offset]) << 8 | UInt16(message[offset + 1])
    }

    /// Only ASCII has case in names (RFC 4343).
    private static func lowercase(_ byte: UInt8) -> UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }
}
