import TestKit
import Testing
import Transport

@testable import ProbeCore

@Suite struct EchoTrainTests {
    @Test func `periodic packets have even gaps`() {
        var train = EchoTrain()
        train.spacing = .periodic
        train.count = 5
        var random = SeededGenerator(seed: 1)
        #expect(train.gaps(using: &random) == [Duration](repeating: train.gap, count: 4))
    }

    @Test func `a train of one packet has no gap`() {
        var train = EchoTrain()
        train.count = 1
        var random = SeededGenerator(seed: 1)
        #expect(train.gaps(using: &random).isEmpty)
    }

    @Test func `poisson gaps are exponential and the same for the same seed`() {
        var train = EchoTrain()
        train.count = 1000
        train.gap = .milliseconds(100)
        var all: [Double] = []
        for seed in 0..<20 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            let gaps = train.gaps(using: &random)
            var again = SeededGenerator(seed: seed)
            #expect(train.gaps(using: &again) == gaps)
            all += gaps.map(\.inMilliseconds)
        }
        let count = Double(all.count)
        let mean = all.reduce(0, +) / count
        // Of 20,000 draws: the mean's standard error is 0.7 %, that of the shares 0.35 % at most.
        #expect(abs(mean - 100) < 3)
        // An exponential variable exceeds m means with probability e^-m.
        for (means, share) in [(0.5, 0.6065), (1.0, 0.3679), (2.0, 0.1353), (4.0, 0.0183)] {
            let beyond = Double(all.count { $0 > means * 100 }) / count
            #expect(abs(beyond - share) < 0.015, "more than \(means) means: \(beyond)")
        }
        #expect(all.allSatisfy { $0 >= 0 && $0 <= 1000 })
    }

    @Test func `a payload is recognised when it comes back unchanged and never else`() {
        var random = SeededGenerator(seed: 7)
        let payload = EchoPayload(size: 56, using: &random)
        let other = EchoPayload(size: 56, using: &random)
        for number in [0, 1, 999] {
            let bytes = payload.bytes(of: number)
            #expect(bytes.count == 56)
            #expect(payload.number(in: bytes) == number)
            #expect(other.number(in: bytes) == nil)
            #expect(payload.number(in: bytes.dropLast()) == nil)
            #expect(payload.number(in: bytes + [0]) == nil)
            for place in bytes.indices where !(16..<20).contains(place) {
                var changed = bytes
                changed[place] ^= 1
                #expect(payload.number(in: changed) == nil)
            }
        }
        #expect(payload.number(in: []) == nil)
    }

    @Test func `the checksum is that of RFC 1071's example`() {
        let bytes: [UInt8] = [0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]
        #expect(ICMPEchoCarrier.checksum(bytes) == ~0xDDF2)
        // A packet with its checksum in it sums to nothing.
        var packet: [UInt8] = [8, 0, 0, 0, 1, 2, 3, 4, 5]
        let sum = ICMPEchoCarrier.checksum(packet)
        packet[2] = UInt8(sum >> 8)
        packet[3] = UInt8(sum & 0xFF)
        #expect(ICMPEchoCarrier.checksum(packet) == 0)
    }
}
