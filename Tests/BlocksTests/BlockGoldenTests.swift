import Blocks
import Telemetry
import Testing

/// The block that an encoder written from `docs/block-format.md` alone, in another language, makes of
/// ``goldenEvents``.
private let goldenHex = """
    514f454201000e000200000002000000090000006700000007000000000000000011223344556677
    8899aabbccddeeff07000000000000007ba067978c01000009000000120000001600000021000000
    280000003200000049000000520000006700000070726f62652d3030313139322e302e322e377769
    66694578616d706c652049535065752d776573743139322e302e322e353368747470733a2f2f6170
    692e6578616d706c652e636f6d70726f62652d303032687474703a2f2f6578616d706c652e6e6574
    2fc3bc6ba7b8109dad11d180b400c04fd430c8000000000100000002000000030000000400000005
    000000f4fb00000300000000000000000000000000000000000000000000000000000007000000ff
    ffffffffffffffffffffffffffffffffffffff00000000000000000000000000000000550e8400e2
    9b41d4a71644665544000000a067978c010000d20400000000000000000000000000000600000000
    0000001f01000000000000550e8400e29b41d4a716446655440001e8a367978c0100000000000000
    000000fbffffff0100000008000000060000000100020000000000a075e90000000000a026880100
    00000080b2b10200000000408e7f070000000040b0af05000000000000000000000000e803000000
    0000005abeb9162520c8d4
    """

private let goldenEvents: [(event: Event, received: Int64)] = {
    var first = Event(
        id: UniqueID("550e8400-e29b-41d4-a716-446655440000") ?? .zero, clientID: "probe-001",
        target: "https://api.example.com", measuredAtMilliseconds: 1_703_347_200_000,
        context: NetworkContext(
            sourceIP: "192.0.2.7", networkType: "wifi", isp: "Example ISP", asn: 64500,
            region: "eu-west", resolver: "192.0.2.53"),
        sequence: UniqueID("6ba7b810-9dad-11d1-80b4-00c04fd430c8").map {
            SessionSequence(session: $0, number: 1234)
        })
    first.metrics[.dns] = MetricValue(15.3, of: .dns)
    first.metrics[.tcp] = MetricValue(25.7, of: .tcp)
    first.metrics[.tls] = MetricValue(45.2, of: .tls)
    first.metrics[.ttfb] = MetricValue(125.8, of: .ttfb)
    first.metrics[.throughput] = MetricValue(95.4, of: .throughput)
    first.metrics[.loss] = MetricValue(0, of: .loss)
    var second = Event(
        id: UniqueID("550e8400-e29b-41d4-a716-446655440001") ?? .zero, clientID: "probe-002",
        target: "http://example.net/\u{FC}", measuredAtMilliseconds: 1_703_347_201_000,
        errorStage: .tcp)
    second.metrics[.dns] = MetricValue(0.001, of: .dns)
    return [(first, 1_703_347_200_123), (second, 1_703_347_200_118)]
}()

func bytes(ofHex hex: String) -> [UInt8] {
    let digits = Array(hex.utf8).compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    return stride(from: 0, to: digits.count - 1, by: 2).map {
        UInt8(digits[$0] * 16 + digits[$0 + 1])
    }
}

@Test func `a block has exactly the bytes that the format's page says`() {
    var builder = BlockBuilder(
        partition: 14,
        producer: UniqueID(high: 0x0011_2233_4455_6677, low: 0x8899_AABB_CCDD_EEFF),
        byteCountMax: 64 << 10)
    for (event, received) in goldenEvents {
        let isTaken = builder.append(event, receivedAtMilliseconds: received)
        #expect(isTaken)
    }
    let size = builder.byteCount
    let block = builder.seal(blockNumber: 7)
    #expect(block == bytes(ofHex: goldenHex))
    #expect(block.count == size)
    #expect(builder.isEmpty)
}

@Test func `the golden block reads back as its events`() throws {
    let block = bytes(ofHex: goldenHex)
    try block.withUnsafeBytes { buffer in
        let reader = try BlockReader(validating: buffer)
        #expect(reader.partition == 14)
        #expect(reader.blockNumber == 7)
        #expect(reader.producer.description == "00112233-4455-6677-8899-aabbccddeeff")
        #expect(reader.eventCount == 2)
        for (index, (event, received)) in goldenEvents.enumerated() {
            #expect(reader.event(index) == event)
            #expect(reader.record(index).receivedAtMilliseconds == received)
        }
    }
}
