import Blocks
import Telemetry
import TestKit
import Testing

func randomBlock(
    _ random: inout SeededGenerator, eventCount: Int
) -> (block: [UInt8], events: [Event]) {
    var builder = BlockBuilder(
        partition: 3, producer: UniqueID(high: 5, low: 6), byteCountMax: 1 << 20)
    let events = (0..<eventCount).map { _ in random.event() }
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
        let event = random.event()
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
        builder.append(random.event(), receivedAtMilliseconds: received)
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
            let count = Int(random.next() % 200)
            bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
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
