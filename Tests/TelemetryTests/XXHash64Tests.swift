import Telemetry
import Testing

/// Answers of the reference implementation.
@Test(
    arguments: [
        ("", 0, 0xEF46_DB37_51D8_E999), ("", 1, 0xD5AF_BA13_36A3_BE4B),
        ("a", 0, 0xD24E_C4F1_A98C_6E5B), ("a", 1, 0xDEC2_BC81_C3CD_46C6),
        ("abc", 0, 0x44BC_2CF5_AD77_0999), ("probe-001", 0, 0xA19A_F88A_C3E1_2B2E),
        ("0123456789abcdef0123456789abcdef", 0, 0x642A_9495_8E71_E6C5),
        ("0123456789abcdef0123456789abcdef", 1, 0x048B_8B58_0878_A4A4),
    ] as [(String, UInt64, UInt64)])
func `the hash of a text is the published one`(text: String, seed: UInt64, hash: UInt64) {
    #expect(XXHash64.hash(text, seed: seed) == hash)
}

@Test func `the hash of 101 bytes takes every path`() {
    let bytes = (0..<101).map(UInt8.init)
    #expect(XXHash64.hash(bytes.span.bytes) == 0xE990_3849_5F85_381E)
    #expect(XXHash64.hash(bytes.span.bytes, seed: 1) == 0x4364_9992_8C06_F890)
}

@Test func `a client's partition never changes`() throws {
    let partitioning = try #require(Partitioning(count: 16))
    #expect(partitioning == .standard)
    #expect(partitioning.partition(ofClient: "probe-001") == 14)
    #expect(partitioning.partition(ofClient: "a") == 11)
    #expect(partitioning.partition(ofClient: "abc") == 9)
}

@Test func `clients spread evenly over the partitions`() {
    var counts = [Int](repeating: 0, count: Partitioning.defaultCount)
    for number in 0..<16_000 {
        counts[Partitioning.standard.partition(ofClient: "probe-\(number)")] += 1
    }
    #expect(counts.allSatisfy { (800...1200).contains($0) })
}

@Test func `a partition count outside of its range is refused`() {
    #expect(Partitioning(count: 0) == nil)
    #expect(Partitioning(count: Partitioning.maximumCount + 1) == nil)
}
