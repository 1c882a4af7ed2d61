/// The 64-bit hash XXH64, as specified by its author (xxHash specification, version 0.1.1).
///
/// Published, fast and the same in every process and language, which Swift's seeded `Hasher` is not:
/// it decides the partition of a client and checks blocks.
package enum XXHash64 {
    private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
    private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
    private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
    private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

    /// The hash of `bytes` with `seed`.
    package static func hash(_ bytes: RawSpan, seed: UInt64 = 0) -> UInt64 {
        unsafe bytes.withUnsafeBytes { unsafe hash($0, seed: seed) }
    }

    /// The hash of the UTF-8 bytes of `text` with `seed`.
    package static func hash(_ text: String, seed: UInt64 = 0) -> UInt64 {
        var text = text
        return text.withUTF8 { unsafe hash(UnsafeRawBufferPointer($0), seed: seed) }
    }

    /// The hash of `bytes` with `seed`.
    package static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
        var position = 0
        var accumulator: UInt64
        let count = bytes.count
        if count >= 32 {
            var lane1 = seed &+ prime1 &+ prime2
            var lane2 = seed &+ prime2
            var lane3 = seed
            var lane4 = seed &- prime1
            while position &+ 32 <= count {
                lane1 = unsafe round(lane1, word(bytes, position))
                lane2 = unsafe round(lane2, word(bytes, position &+ 8))
                lane3 = unsafe round(lane3, word(bytes, position &+ 16))
                lane4 = unsafe round(lane4, word(bytes, position &+ 24))
                position &+= 32
            }
            accumulator =
                rotate(lane1, 1) &+ rotate(lane2, 7) &+ rotate(lane3, 12) &+ rotate(lane4, 18)
            accumulator = merge(accumulator, lane1)
            accumulator = merge(accumulator, lane2)
            accumulator = merge(accumulator, lane3)
            accumulator = merge(accumulator, lane4)
        } else {
            accumulator = seed &+ prime5
        }
        accumulator &+= UInt64(truncatingIfNeeded: count)
        while position &+ 8 <= count {
            accumulator ^= unsafe round(0, word(bytes, position))
            accumulator = rotate(accumulator, 27) &* prime1 &+ prime4
            position &+= 8
        }
        if position &+ 4 <= count {
            let half = unsafe UInt32(
                littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self))
            accumulator ^= UInt64(half) &* prime1
            accumulator = rotate(accumulator, 23) &* prime2 &+ prime3
            position &+= 4
        }
        while position < count {
            accumulator ^= unsafe UInt64(bytes[position]) &* prime5
            accumulator = rotate(accumulator, 11) &* prime1
            position &+= 1
        }
        accumulator ^= accumulator >> 33
        accumulator &*= prime2
        accumulator ^= accumulator >> 29
        accumulator &*= prime3
        accumulator ^= accumulator >> 32
        return accumulator
    }

    @inline(__always)
    private static func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    @inline(__always)
    private static func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 {
        value << bits | value >> (64 &- bits)
    }

    @inline(__always)
    private static func round(_ lane: UInt64, _ input: UInt64) -> UInt64 {
        rotate(lane &+ input &* prime2, 31) &* prime1
    }

    @inline(__always)
    private static func merge(_ accumulator: UInt64, _ lane: UInt64) -> UInt64 {
        (accumulator ^ round(0, lane)) &* prime1 &+ prime4
    }
}
