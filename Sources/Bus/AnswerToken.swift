/// The last token of the subject that an answer comes to: `<lane>-<number>`.
///
/// The lane is that of a block, or the tag of a pull request.
struct AnswerToken: Equatable, CustomStringConvertible {
    let lane: Int
    let number: UInt64

    init(lane: Int, number: UInt64) {
        self.lane = lane
        self.number = number
    }

    init?(subject: String) {
        let token = subject.utf8.suffix(while: { $0 != UInt8(ascii: ".") })
        let parts = token.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count == 2, let lane = decimal(parts[0]).flatMap({ Int(exactly: $0) }),
            let number = decimal(parts[1])
        else { return nil }
        self.init(lane: lane, number: number)
    }

    var description: String { "\(lane)-\(number)" }
}

extension BidirectionalCollection {
    /// The elements after the last one that does not fulfil `condition`.
    fileprivate func suffix(while condition: (Element) -> Bool) -> SubSequence {
        guard let end = lastIndex(where: { !condition($0) }) else { return self[...] }
        return self[index(after: end)...]
    }
}
