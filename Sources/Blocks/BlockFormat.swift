/// The layout of a block, version 1; every number is little-endian. `docs/block-format.md` specifies it.
///
///     header    64 bytes
///     ends      string count × u32: where each string ends in the string bytes
///     strings   string bytes: UTF-8 without U+0000, one after the other
///     origins   origin count × 56 bytes
///     records   event count × 56 bytes
///     values    value count × u64: millionths, in the order of the records and of the metrics
///     checksum  u64: XXH64 with seed 0 of everything before it
package enum BlockFormat {
    /// The first four bytes of a block. JSON cannot begin with them.
    package static let magic: UInt32 = 0x4245_4F51  // "QOEB"
    package static let version: UInt16 = 1
    /// Stands for "no string" in origins.
    package static let noString = UInt32.max
    /// The largest block that is built or read, bytes: NATS's own largest recommended payload.
    package static let byteCountMax = 8 << 20

    package enum Header {
        package static let size = 64
        package static let magic = 0
        package static let version = 4
        package static let partition = 6
        package static let eventCount = 8
        package static let originCount = 12
        package static let stringCount = 16
        package static let stringByteCount = 20
        package static let valueCount = 24
        package static let reserved = 28
        package static let producer = 32
        package static let blockNumber = 48
        package static let firstReceived = 56
    }

    /// Who posted: shared by all events of a block with the same client, session and context.
    package enum Origin {
        package static let size = 56
        package static let session = 0
        package static let client = 16
        package static let sourceIP = 20
        package static let networkType = 24
        package static let isp = 28
        package static let region = 32
        package static let resolver = 36
        package static let asn = 40
        package static let flags = 44
        package static let reserved = 48

        /// Set in `flags` when the session is present.
        package static let hasSession: UInt32 = 1
        /// Set in `flags` when the ASN is present.
        package static let hasASN: UInt32 = 2
    }

    package enum Record {
        package static let size = 56
        package static let eventID = 0
        package static let measuredAt = 16
        package static let sequence = 24
        package static let receivedDelta = 32
        package static let origin = 36
        package static let target = 40
        package static let firstValue = 44
        package static let mask = 48
        package static let errorStage = 50
        package static let reserved = 51
    }

    package static let checksumSize = 8
}
