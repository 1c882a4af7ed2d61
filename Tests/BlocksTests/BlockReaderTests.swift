import Blocks
import Telemetry
import Testing

/// A small, seeded generator (SplitMix64), so that a failing case can be repeated.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}

func randomEvent(_ random: inout SeededGenerator) -> Event {
    func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
    func text(_ limit: Int) -> Name {
        let alphabet = Array("abcxyz0189-._:/ äß東\u{1F680}")
        let count = Int.random(in: 1...max(1, limit / 4), using: &random)
        return Name(String((0..<count).compactMap { _ in alphabet.randomElement(using: &random) }))
    }
    var event = Event(
        id: .random(using: &random),
        clientID: chance(80) ? Name("probe-\(Int.random(in: 0..<4, using: &random))") : text(255),
        target: chance(80) ? "https://a.example" : text(255),
        measuredAtMilliseconds: Int64.random(in: 0...4_000_000_000_000, using: &random))
    if chance(60) {
        event.context = NetworkContext(
            sourceIP: chance(50) ? "192.0.2.1" : nil, networkType: chance(50) ? "wifi" : nil,
            isp: chance(50) ? text(128) : nil,
            asn: chance(50) ? UInt32.random(in: 0 ... .max, using: &random) : nil,
            region: chance(50) ? "eu" : nil, resolver: chance(50) ? "192.0.2.53" : nil)
    }
    for metric in Metric.allCases where chance(60) {
        let maximum = MetricValue.maximum(of: metric).millionths
        event.metrics[metric] = MetricValue(millionths: .random(in: 0...maximum, using: &random))
    }
    if chance(20) { event.errorStage = ErrorStage.allCases.randomElement(using: &random) }
    if chance(70) {
        event.sequence = SessionSequence(
            session: UniqueID(high: 1, low: .random(in: 0..<3, using: &random)),
            number: .random(in: 1...SessionSequence.maximumNumber, using: &random))
    }
    return event
}

func randomBlock(
    _ random: inout SeededGenerator, eventCount: Int
) -> (block: [UInt8], events: [Event]) {
    var builder = BlockBuilder(
        partition: 3, producer: UniqueID(high: 5, low: 6), byteCountMax: 1 << 20)
    let events = (0..<eventCount).map { _ in randomEvent(&random) }
    for event in events {
        let received = 1_703_347_200_000 + Int64.random(in: -1000...1000, using: &random)
        _ = builder.append(event, receivedAtMilliseconds: received)
    }
    return (builder.seal(blockNumber: 1), events)
}

@Test func `any events come back from a block as they went in`() throws {
    for seed in UInt64(1)...200 {
        var random = SeededGenerator(seed: seed)
        let (block, events) = randomBlock(
            &random, eventCount: Int.random(in: 0...40, using: &random))
        try block.withUnsafeBytes { buffer in
            let reader = try BlockReader(validating: buffer)
            #expect((0..<reader.eventCount).map { reader.event($0) } == events, "seed \(seed)")
        }
    }
}

@Test func `a builder never exceeds its bound and says when it is full`() throws {
    var random = SeededGenerator(seed: 7)
    var builder = BlockBuilder(partition: 0, producer: .zero, byteCountMax: 4096)
    var blocks: [[UInt8]] = []
    var appended = 0
    for _ in 0..<500 {
        let event = randomEvent(&random)
        if !builder.append(event, receivedAtMilliseconds: 0) {
            #expect(!builder.isEmpty, "an empty builder of 4 KiB takes any event")
            blocks.append(builder.seal(blockNumber: UInt64(blocks.count + 1)))
            let isTaken = builder.append(event, receivedAtMilliseconds: 0)
            #expect(isTaken)
        }
        appended += 1
    }
    blocks.append(builder.seal(blockNumber: UInt64(blocks.count + 1)))
    #expect(blocks.allSatisfy { $0.count <= 4096 })
    let read = try blocks.reduce(0) { sum, block in
        try block.withUnsafeBytes { try sum + BlockReader(validating: $0).eventCount }
    }
    #expect(read == appended)
}

@Test func `a clock step of weeks closes the block instead of falsifying a time`() {
    var random = SeededGenerator(seed: 8)
    var builder = BlockBuilder(partition: 0, producer: .zero, byteCountMax: 1 << 16)
    let answers = [0, 1 << 40, .min].map { received in
        builder.append(randomEvent(&random), receivedAtMilliseconds: received)
    }
    #expect(answers == [true, false, false])
    #expect(builder.eventCount == 1)
}

private func failure(_ bytes: [UInt8]) -> BlockError? {
    bytes.withUnsafeBytes { buffer in
        do throws(BlockError) {
            _ = try BlockReader(validating: buffer)
            return nil
        } catch {
            return error
        }
    }
}

/// Puts the right checksum on a changed block, so that the checks behind it are reached.
private func withChecksum(_ block: [UInt8]) -> [UInt8] {
    guard block.count >= 8 else { return block }
    let body = Array(block.dropLast(8))
    let hash = XXHash64.hash(body.span.bytes)
    return body + (0..<8).map { UInt8(truncatingIfNeeded: hash >> (8 * $0)) }
}

@Test func `each kind of damage has its name`() {
    var random = SeededGenerator(seed: 9)
    let (block, _) = randomBlock(&random, eventCount: 3)
    func changed(at offset: Int, to byte: UInt8) -> [UInt8] {
        var copy = block
        copy[offset] = byte
        return copy
    }
    #expect(failure([]) == .notABlock)
    #expect(failure(Array("{\"schema_version\":1}".utf8)) == .notABlock)
    #expect(failure(Array(block.prefix(40))) == .wrongSize(expected: 72, actual: 40))
    #expect(failure(changed(at: 4, to: 2)) == .unsupportedVersion(2))
    #expect(failure(block + [0])?.reason == "wrong_size")
    #expect(failure(changed(at: block.count - 1, to: ~block[block.count - 1])) == .wrongChecksum)
    // The first string gets a NUL.
    let strings = 64 + 4 * Int(block[16])
    #expect(
        failure(withChecksum(changed(at: strings, to: 0))) == .invalidString(index: 0))
    #expect(
        failure(withChecksum(changed(at: strings, to: 0xFF))) == .invalidString(index: 0))
}

/// At least a million inputs: random bytes, truncations, and blocks with random bytes changed, half of them
/// with the checksum made right again. Nothing may trap, and what is accepted must be readable in full.
@Test(arguments: 0..<8 as Range<UInt64>)
func `the reader survives whatever bytes it is given`(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let seeds = (0..<16).map { _ in randomBlock(&random, eventCount: 2).block }
    var accepted = 0
    for _ in 0..<130_000 {
        var bytes = seeds[Int(random.next() % 16)]
        switch random.next() % 8 {
        case 0:
            bytes = (0..<Int(random.next() % 200)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            if bytes.count > 8 { bytes.replaceSubrange(0..<4, with: Array("QOEB".utf8)) }
        case 1:
            bytes.removeLast(Int(random.next() % UInt64(bytes.count)) + 1)
        default:
            for _ in 0...(random.next() % 3) {
                // Mostly the header and the tables, where the structure is.
                let limit = random.next() % 2 == 0 ? min(bytes.count, 80) : bytes.count
                bytes[Int(random.next() % UInt64(limit))] = UInt8(truncatingIfNeeded: random.next())
            }
        }
        if random.next() % 2 == 0 { bytes = withChecksum(bytes) }
        bytes.withUnsafeBytes { buffer in
            guard let reader = try? BlockReader(validating: buffer) else { return }
            accepted += 1
            for index in 0..<reader.eventCount { _ = reader.event(index) }
        }
    }
    #expect(accepted > 0, "seed \(seed): some changes leave a valid block")
}
