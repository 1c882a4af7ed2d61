import TestKit
import Testing

@testable import LinkEmulation

/// The model without devices, threads and clock: moments are given to it.
@Suite struct DirectionModelTests {
    private let start = ContinuousClock.now

    @Test func `a packet is due after the delay and not before`() {
        var model = model(Impairment(delay: .milliseconds(25)))
        model.take(packet(1), at: start)
        #expect(model.nextMoment == start + .milliseconds(25))
        #expect(model.nextDue(at: start + .nanoseconds(24_999_999)) == nil)
        #expect(model.nextDue(at: start + .milliseconds(25)) == packet(1))
        #expect(model.nextMoment == nil)
    }

    @Test func `without any impairment a packet is due at once`() {
        var model = model(Impairment())
        model.take(packet(1), at: start)
        #expect(model.nextDue(at: start) == packet(1))
    }

    @Test func `jitter never changes the order`() {
        let seed = UInt64.random(in: 0 ... .max)
        var model = model(
            Impairment(delay: .milliseconds(20), jitter: .uniform(.milliseconds(20))), seed: seed)
        for number in 0..<1000 { model.take(packet(number), at: start + .milliseconds(number)) }
        let numbers = drain(&model).map(number)
        #expect(numbers == Array(0..<1000), "seed \(seed)")
        #expect(model.counters.reordered == 0)
    }

    @Test func `packets further apart than the jitter is wide have the whole of it`() {
        var model = model(
            Impairment(delay: .milliseconds(50), jitter: .uniform(.milliseconds(10))))
        var delays: [Double] = []
        for number in 0..<2000 {
            let sent = start + .milliseconds(number * 100)
            model.take(packet(number), at: sent)
            if let due = model.nextMoment {
                delays.append(sent.duration(to: due) / .milliseconds(1))
                _ = model.nextDue(at: due)
            }
        }
        #expect(delays.count == 2000 && delays.allSatisfy { (40...60).contains($0) })
        #expect(abs(delays.reduce(0, +) / 2000 - 50) < 0.6)
        #expect((delays.min() ?? 50) < 40.5 && (delays.max() ?? 50) > 59.5)
    }

    @Test func `what is lost is what the seed says, whatever else is set`() {
        let settings = [
            Impairment(loss: .independent(0.1)),
            Impairment(
                delay: .milliseconds(3), jitter: .normal(standardDeviation: .milliseconds(2)),
                loss: .independent(0.1), duplication: 0.3,
                reordering: .init(probability: 0.2, extraDelay: .milliseconds(40))),
            Impairment(loss: .independent(0.1), rate: 10_000_000),
        ]
        let survivors = settings.map { settings in
            var model = model(settings, seed: 3)
            for number in 0..<1000 { model.take(packet(number), at: start + .milliseconds(number)) }
            return Set(drain(&model).map(number))
        }
        #expect(survivors[0].count < 1000 && survivors[0].count > 800)
        #expect(survivors[1] == survivors[0])
        #expect(survivors[2] == survivors[0])
    }

    @Test func `a packet leaves the bottleneck when the one before it and itself have been sent`() {
        // 1000 bytes at 8 Mbit/s take a millisecond.
        var model = model(Impairment(delay: .milliseconds(10), rate: 8_000_000))
        for number in 0..<3 { model.take(packet(number, bytes: 1000), at: start) }
        model.take(packet(3, bytes: 500), at: start)
        model.take(packet(4, bytes: 1000), at: start + .milliseconds(50))
        var moments: [Duration] = []
        while let moment = next(&model) { moments.append(start.duration(to: moment)) }
        #expect(
            moments == [11_000, 12_000, 13_000, 13_500, 61_000].map(Duration.microseconds))
    }

    @Test func `a link that is looked at late does not lose capacity`() {
        var model = model(Impairment(rate: 8_000_000))
        for number in 0..<100 { model.take(packet(number, bytes: 1000), at: start) }
        var due = 0
        while model.nextDue(at: start + .milliseconds(60)) != nil { due += 1 }
        #expect(due == 60)
        model.take(packet(100, bytes: 1000), at: start + .milliseconds(60))
        #expect(model.counters.inside == 41)
        #expect(model.nextMoment == start + .milliseconds(61))
    }

    @Test func `what exceeds the queue in packets is dropped on arrival and counted`() {
        var model = model(Impairment(rate: 8_000_000, queue: .init(packets: 20)))
        for number in 0..<50 { model.take(packet(number, bytes: 1000), at: start) }
        #expect(model.counters.droppedByQueue == 30)
        #expect(drain(&model).map(number) == Array(0..<20))
    }

    @Test func `what exceeds the queue in bytes is dropped on arrival and counted`() {
        var model = model(Impairment(rate: 8_000_000, queue: .init(packets: 100, bytes: 2500)))
        for number in 0..<4 { model.take(packet(number, bytes: 1000), at: start) }
        model.take(packet(4, bytes: 500), at: start)
        #expect(model.counters.droppedByQueue == 2)
        #expect(drain(&model).map(number) == [0, 1, 4])
    }

    @Test func `what waits leaves at a new rate as soon as it is set`() {
        var model = model(Impairment(rate: 8_000_000))
        for number in 0..<3 { model.take(packet(number, bytes: 1000), at: start) }
        // Half of the first packet has left; the rest takes four times as long.
        model.change(to: Impairment(rate: 2_000_000), at: start + .microseconds(500))
        var moments: [Duration] = []
        while let moment = next(&model) { moments.append(start.duration(to: moment)) }
        #expect(moments == [2500, 6500, 10_500].map(Duration.microseconds))
    }

    @Test func `what waits leaves at once when the rate is lifted`() {
        var model = model(Impairment(rate: 8_000))
        for number in 0..<3 { model.take(packet(number, bytes: 1000), at: start) }
        let moment = start + .microseconds(500)
        model.change(to: Impairment(), at: moment)
        model.take(packet(3, bytes: 1000), at: moment)
        let numbers = (0..<4).map { _ in model.nextDue(at: moment).map(number) }
        #expect(numbers == [0, 1, 2, 3])
    }

    @Test func `a shorter delay lets nothing overtake what is on the wire`() {
        var model = model(Impairment(delay: .milliseconds(50)))
        model.take(packet(0), at: start)
        model.change(to: Impairment(delay: .milliseconds(10)), at: start)
        model.take(packet(1), at: start + .milliseconds(1))
        model.take(packet(2), at: start + .milliseconds(60))
        var moments: [Duration] = []
        while let moment = next(&model) { moments.append(start.duration(to: moment)) }
        #expect(moments == [.milliseconds(50), .milliseconds(50), .milliseconds(70)])
        #expect(model.counters.reordered == 0)
    }

    @Test func `what is held back is overtaken by those behind it`() {
        let seed: UInt64 = 4
        let reordering = Impairment.Reordering(probability: 0.1, extraDelay: .milliseconds(5))
        var model = model(
            Impairment(delay: .milliseconds(10), reordering: reordering), seed: seed)
        for number in 0..<1000 { model.take(packet(number), at: start + .milliseconds(number)) }
        let numbers = drain(&model).map(number)
        #expect(numbers.sorted() == Array(0..<1000))
        var highest = -1
        var late = 0
        for number in numbers {
            if number < highest { late += 1 }
            highest = max(highest, number)
        }
        #expect(late > 50 && late == Int(model.counters.reordered))
        #expect(model.counters.reordered <= model.counters.heldBack)
        #expect(abs(Int(model.counters.heldBack) - 100) < 40)
    }

    @Test func `each copy arrives right behind its original`() {
        var model = model(Impairment(delay: .milliseconds(1), duplication: 0.2), seed: 4)
        for number in 0..<1000 { model.take(packet(number), at: start + .milliseconds(number)) }
        let numbers = drain(&model).map(number)
        #expect(numbers == numbers.sorted())
        #expect(numbers.count == 1000 + Int(model.counters.duplicated))
        #expect(abs(Int(model.counters.duplicated) - 200) < 50)
        #expect(Set(numbers).count == 1000)
        #expect(model.counters.reordered == 0)
    }

    @Test func `multicast and what is not IP is ignored`() {
        var model = model(Impairment())
        var group = packet(1)
        group[16] = 224
        var groupIPv6 = [UInt8](repeating: 0, count: 48)
        groupIPv6[0] = 0x60
        groupIPv6[24] = 0xff
        for bytes in [group, groupIPv6, [], [0x45], [UInt8](repeating: 0, count: 60)] {
            model.take(bytes, at: start)
        }
        #expect(model.counters.ignored == 5)
        #expect(model.counters.arrived == 0)
        groupIPv6[24] = 0x20
        model.take(groupIPv6, at: start)
        #expect(model.nextDue(at: start) == groupIPv6)
    }

    @Test func `a wire that is full drops and counts`() {
        var model = model(Impairment(delay: .seconds(1)))
        let surplus = 10
        for number in 0..<DirectionModel.wireCapacityPackets + surplus {
            model.take(packet(number, bytes: 28), at: start)
        }
        let capacity = UInt64(DirectionModel.wireCapacityPackets)
        #expect(model.counters.inside <= capacity && model.counters.inside >= capacity - 1)
        #expect(model.counters.droppedByWire == model.counters.arrived - model.counters.inside)
    }

    @Test(arguments: 0..<20)
    func `no packet disappears uncounted, whatever the settings and their changes`(_: Int) {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        var model = model(Impairment(), seed: generator.next())
        var now = start
        var isBalanced = true
        for number in 0..<2000 {
            if generator.chance(2) {
                model.change(to: randomImpairment(&generator), at: now)
            }
            now += .microseconds(Int.random(in: 0...3000, using: &generator))
            model.take(
                packet(number, bytes: .random(in: 28...1500, using: &generator)), at: now)
            if generator.chance(70) {
                while let packet = model.nextDue(at: now) {
                    model.wasDelivered(!generator.chance(5), bytes: packet.count)
                }
            }
            isBalanced = isBalanced && balances(model.counters)
        }
        while let moment = model.nextMoment {
            while let packet = model.nextDue(at: moment) {
                model.wasDelivered(true, bytes: packet.count)
            }
        }
        #expect(isBalanced && balances(model.counters), "seed \(seed): \(model.counters)")
        #expect(model.counters.inside == 0, "seed \(seed)")
        #expect(model.counters.arrived == 2000, "seed \(seed)")
    }

    private func balances(_ counters: LinkCounters) -> Bool {
        counters.arrived + counters.duplicated
            == counters.delivered + counters.lost + counters.droppedByQueue
            + counters.droppedByWire + counters.refused + counters.inside
    }

    private func randomImpairment(_ generator: inout SeededGenerator) -> Impairment {
        let losses: [Loss] = [
            .none, .independent(0.1), .all,
            .bursts(GilbertElliott(meanLoss: 0.1, meanLength: 3)),
        ]
        return Impairment(
            delay: .milliseconds(Int.random(in: 0...40, using: &generator)),
            jitter: generator.chance(50) ? .none : .uniform(.milliseconds(10)),
            loss: losses.randomElement(using: &generator) ?? .none,
            duplication: generator.chance(50) ? 0 : 0.2,
            reordering: generator.chance(50)
                ? .none : .init(probability: 0.2, extraDelay: .milliseconds(20)),
            rate: generator.chance(50) ? nil : .random(in: 100_000...20_000_000, using: &generator),
            queue: .init(packets: .random(in: 1...50, using: &generator)))
    }

    private func model(_ impairment: Impairment, seed: UInt64 = 1) -> DirectionModel {
        var model = DirectionModel(seed: seed)
        model.change(to: impairment, at: start)
        return model
    }

    /// An IPv4 packet that carries a number.
    private func packet(_ number: Int, bytes: Int = 100) -> [UInt8] {
        var packet = [UInt8](repeating: 0, count: bytes)
        packet[0] = 0x45
        packet[16] = 198
        withUnsafeBytes(of: UInt32(number).bigEndian) { packet.replaceSubrange(20..<24, with: $0) }
        return packet
    }

    private func number(_ packet: [UInt8]) -> Int {
        packet[20..<24].reduce(0) { $0 << 8 | Int($1) }
    }

    /// All packets in the order in which they are due.
    private func drain(_ model: inout DirectionModel) -> [[UInt8]] {
        var packets: [[UInt8]] = []
        while let moment = model.nextMoment {
            while let packet = model.nextDue(at: moment) { packets.append(packet) }
        }
        return packets
    }

    /// Removes one packet.
    ///
    /// - Returns: The first moment at which it could be removed.
    private func next(_ model: inout DirectionModel) -> ContinuousClock.Instant? {
        while let moment = model.nextMoment {
            if model.nextDue(at: moment) != nil { return moment }
        }
        return nil
    }
}
