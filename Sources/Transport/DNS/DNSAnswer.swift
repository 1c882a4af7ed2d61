/// A name server's answer, as far as it is shown.
package struct DNSAnswer: Sendable, Equatable {
    package struct Record: Sendable, Equatable {
        package let type: UInt16
        /// Seconds for which it may be kept.
        package let timeToLive: UInt32
        /// For records of an address.
        package let address: String?
    }

    package let code: DNSResponseCode
    /// The server speaks for the zone itself (AA).
    package let isAuthoritative: Bool
    /// More there was than fits; ``records`` is then empty (TC).
    package let isTruncated: Bool
    /// The server offers recursion (RA).
    package let isRecursionAvailable: Bool
    /// The server validated the answer with DNSSEC (AD).
    package let isAuthenticated: Bool
    /// The answer section, aliases included.
    package let records: [Record]

    /// Why an answer cannot be used.
    package struct Fault: Error, Sendable, Equatable, CustomStringConvertible {
        package let description: String
    }

    /// Reads the answer to `question` asked with `id`.
    ///
    /// Reads every section to its end, so that an answer is good or malformed as a whole; only of a truncated
    /// one no more than its header and question. The work is bounded by the message's length, whatever
    /// its counts and pointers say.
    package init(
        _ message: [UInt8], to question: DNSQuestion, id: UInt16
    ) throws(Fault) {
        var reader = DNSReader(message)
        guard let head = reader.headOfAnswer(to: question, id: id) else {
            throw Fault(description: "it answers another question")
        }
        let basicCode = head.basicCode
        isAuthoritative = head.flags & DNSHeader.authoritative != 0
        isTruncated = head.flags & DNSHeader.truncated != 0
        isRecursionAvailable = head.flags & DNSHeader.recursionAvailable != 0
        isAuthenticated = head.flags & DNSHeader.authenticData != 0
        if isTruncated {
            // It may end in the middle of a record.
            code = basicCode
            records = []
            return
        }
        var records: [Record] = []
        var extendedBits: UInt16 = 0
        for (section, count) in [head.answers, head.authorities, head.additionals].enumerated() {
            for _ in 0..<count {
                guard let record = reader.record() else {
                    throw Fault(description: "a record cannot be read")
                }
                if record.type == DNSQuestion.optType {
                    // The code's upper eight bits stand where other records have their first of time to live.
                    extendedBits = UInt16(record.timeToLive >> 24) << 4
                } else if section == 0 {
                    records.append(try Self.shown(record))
                }
            }
        }
        code = DNSResponseCode(number: extendedBits | basicCode.number)
        self.records = records
    }

    /// The shortest time for which a record of the answer may be kept, seconds; nil without records.
    package var timeToLiveMin: UInt32? { records.lazy.map(\.timeToLive).min() }

    private static func shown(_ record: DNSReader.Record) throws(Fault) -> Record {
        var address: String?
        switch (record.type, record.data.count) {
        case (1, 4), (28, 16): address = SocketAddress(bytes: record.data, port: 0)?.host
        case (1, _), (28, _): throw Fault(description: "an address has a wrong length")
        default: break
        }
        // A time with the highest bit set is none (RFC 2181, section 8).
        let isTime = record.timeToLive <= UInt32(Int32.max)
        return Record(
            type: record.type, timeToLive: isTime ? record.timeToLive : 0, address: address)
    }
}

extension DNSQuestion {
    /// Whether a message answers this question asked with `id`, be its records as they may.
    ///
    /// One that does not is somebody else's, late, or forged (RFC 5452, section 9.1).
    package func isAnswered(by message: [UInt8], id: UInt16) -> Bool {
        var reader = DNSReader(message)
        return reader.headOfAnswer(to: self, id: id) != nil
    }
}
