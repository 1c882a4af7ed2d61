/// A part of the platform that reads bytes of others.
package enum FuzzTarget: String, CaseIterable, Sendable {
    /// The parser and the rules of events, JSON and lines.
    case events
    case heartbeats
    /// The inflater of compressed bodies.
    case gzip
    /// The reader of blocks.
    case blocks

    /// The target of the input with `index`: of 20 inputs 9 are events, 1 is a heartbeat (the slowest by far),
    /// 4 are gzip and 6 are blocks.
    package init(index: UInt64) {
        switch index % 20 {
        case ..<9: self = .events
        case 9: self = .heartbeats
        case 10..<14: self = .gzip
        default: self = .blocks
        }
    }
}

/// One input: reproducible from the seed and the index alone.
package struct FuzzInput: Sendable {
    package let target: FuzzTarget
    package let bytes: [UInt8]
    /// Where the input is split, whether it is lines, and the like.
    let choices: UInt64
}

/// Something that must never be; what it says is for people.
package struct FuzzFinding: Error, CustomStringConvertible {
    package let description: String
}
