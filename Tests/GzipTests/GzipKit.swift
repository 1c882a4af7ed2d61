import Gzip

/// Inflates `parts` in order and returns the output.
func inflate(
    _ parts: [[UInt8]], with inflater: GzipInflater = GzipInflater(outputByteCountMax: 1 << 20)
) throws(GzipInflater.Failure) -> [UInt8] {
    var output: [UInt8] = []
    for part in parts {
        let result = part.withUnsafeBytes { bytes in
            Result { () throws(GzipInflater.Failure) in
                try inflater.inflate(bytes) { output.append(contentsOf: $0) }
            }
        }
        try result.get()
    }
    try inflater.finish()
    return output
}

/// The code with which `body` is refused, nil when it is not.
func refusal(
    of body: [UInt8], with inflater: GzipInflater = GzipInflater(outputByteCountMax: 1 << 20)
) -> GzipInflater.Failure.Code? {
    do throws(GzipInflater.Failure) {
        _ = try inflate([body], with: inflater)
        return nil
    } catch {
        return error.code
    }
}

/// The fields that a header may have beside the ten bytes that it must.
struct HeaderFields {
    var extra: [UInt8]?
    var name: String?
    var comment: String?
    var hasChecksum = false
}

/// `body` of ``gzip(_:level:)`` with these fields in its header.
func withHeader(_ fields: HeaderFields, _ body: [UInt8]) -> [UInt8] {
    var flags: UInt8 = 0
    var optional: [UInt8] = []
    if let extra = fields.extra {
        flags |= 4
        optional += [UInt8(extra.count & 0xFF), UInt8(extra.count >> 8)] + extra
    }
    if let name = fields.name {
        flags |= 8
        optional += Array(name.utf8) + [0]
    }
    if let comment = fields.comment {
        flags |= 16
        optional += Array(comment.utf8) + [0]
    }
    if fields.hasChecksum { flags |= 2 }
    var header = Array(body[..<10])
    header[3] = flags
    header += optional
    if fields.hasChecksum {
        let checksum = crc32(header)
        header += [UInt8(checksum & 0xFF), UInt8(checksum >> 8 & 0xFF)]
    }
    return header + body[10...]
}

/// The checksum of RFC 1952, bit by bit.
func crc32(_ bytes: [UInt8]) -> UInt32 {
    var sum = UInt32.max
    for byte in bytes {
        sum ^= UInt32(byte)
        for _ in 0..<8 {
            let isOdd = sum & 1 == 1
            sum >>= 1
            if isOdd { sum ^= 0xEDB8_8320 }
        }
    }
    return ~sum
}
