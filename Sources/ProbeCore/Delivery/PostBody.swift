internal import Gzip

/// The body of a post of events, compressed when that pays.
struct PostBody {
    let bytes: [UInt8]
    let isCompressed: Bool

    static let contentType = "application/x-ndjson"
    /// Smaller ones fit into one packet as they are.
    static let compressedBytesMin = 1024

    init(_ lines: [UInt8], mayCompress: Bool) {
        // Without memory for it, or without gain, it is posted as it is.
        if mayCompress, lines.count >= Self.compressedBytesMin, let small = try? gzip(lines),
            small.count < lines.count * 9 / 10
        {
            bytes = small
            isCompressed = true
        } else {
            bytes = lines
            isCompressed = false
        }
    }

    /// The fields of the request that describe it.
    var fields: [String] {
        ["Content-Type: \(Self.contentType)"] + (isCompressed ? ["Content-Encoding: gzip"] : [])
    }
}
