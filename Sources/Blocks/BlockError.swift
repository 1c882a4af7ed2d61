/// Why bytes are not a block; the reason is stable and goes to the dead letters.
package enum BlockError: Error, Hashable, Sendable {
    case notABlock
    /// A newer writer's block: upgrade the reader.
    case unsupportedVersion(UInt16)
    /// The sections do not add up to the message's size.
    case wrongSize(expected: Int, actual: Int)
    case wrongChecksum
    /// A block of another partition than the subject it was read from.
    case wrongPartition(expected: Int, actual: Int)
    /// A string that is too long, ill-formed UTF-8, or holds U+0000.
    case invalidString(index: Int)
    case invalidOrigin(index: Int)
    case invalidRecord(index: Int)

    /// A stable, machine-readable name.
    package var reason: String {
        switch self {
        case .notABlock: "not_a_block"
        case .unsupportedVersion: "unsupported_version"
        case .wrongSize: "wrong_size"
        case .wrongChecksum: "wrong_checksum"
        case .wrongPartition: "wrong_partition"
        case .invalidString: "invalid_string"
        case .invalidOrigin: "invalid_origin"
        case .invalidRecord: "invalid_record"
        }
    }
}
