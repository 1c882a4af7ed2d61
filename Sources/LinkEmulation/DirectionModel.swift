/// What one direction does to its packets: a function of its settings, its seed, and the moments at which packets arrive.
/// It has no clock and no I/O.
struct DirectionModel: Sendable {
    /// Packets that the wire holds at most, which is more than 1 Gbit/s for one second.
    static let wireCapacityPackets = 1 << 17

    private(set) var impairment = Impairment()
    private(set) var counters = LinkCounters()
    private var random: RandomProcesses

    /// Those that wait for the bottleneck; the first of them is leaving.
    private var queue = PacketQueue<Packet>()
    private var queuedBytes = 0
    /// When the last bit of the first packet leaves.
    private var firstLeaves: ContinuousClock.Instant?

    /// Those on the wire, by the moment at which they are due.
    private var inOrder = PacketQueue<Due>()
    private var lastDue: ContinuousClock.Instant?
    /// Those that others may overtake, the one that is due last first.
    private var heldBack: [Due] = []

    private var nextNumber: UInt64 = 0
    private var highestDelivered: UInt64 = 0

    private struct Packet: Sendable {
        let bytes: [UInt8]
        /// From 1 in the order of arrival.
        let number: UInt64
    }

    private struct Due: Sendable {
        let packet: Packet
        let moment: ContinuousClock.Instant
        let isCopy: Bool
    }

    init(seed: UInt64) {
        random = RandomProcesses(seed: seed)
    }

    /// Changes the settings: of the bottleneck for all that have not left it, of the wire for all that are not yet on it.
    mutating func change(to new: Impairment, at now: ContinuousClock.Instant) {
        advance(to: now)
        if let leaves = firstLeaves, new.rate != impairment.rate {
            // The bits that are left go at the new rate.
            let remaining = now.duration(to: leaves)
            let factor = new.rate.map { Double(impairment.rate ?? $0) / Double($0) } ?? 0
            firstLeaves = now + remaining * factor
        }
        impairment = new
        advance(to: now)
    }

    /// Takes up a packet that arrives now.
    mutating func take(_ bytes: [UInt8], at now: ContinuousClock.Instant) {
        guard isCarried(bytes) else {
            counters.ignored += 1
            return
        }
        advance(to: now)
        nextNumber += 1
        let packet = Packet(bytes: bytes, number: nextNumber)
        counters.arrived += 1
        counters.arrivedBytes += UInt64(bytes.count)
        guard impairment.rate != nil else {
            putOnWire(packet, at: now)
            return
        }
        guard queue.count < impairment.queue.packets,
            bytes.count <= impairment.queue.bytes - min(queuedBytes, impairment.queue.bytes)
        else {
            counters.droppedByQueue += 1
            return
        }
        if queue.count == 0 {
            firstLeaves = now + serialisation(of: packet)
        }
        queue.append(packet)
        queuedBytes += bytes.count
        counters.inside += 1
    }

    /// Removes the next packet whose moment has come.
    mutating func nextDue(at now: ContinuousClock.Instant) -> [UInt8]? {
        advance(to: now)
        let held = heldBack.last?.moment
        let ordered = inOrder.first?.moment
        var due: Due?
        if let held, held <= now, ordered.map({ held < $0 }) ?? true {
            due = heldBack.removeLast()
        } else if let ordered, ordered <= now {
            due = inOrder.removeFirst()
        }
        guard let due else { return nil }
        counters.inside -= 1
        if !due.isCopy {
            if due.packet.number < highestDelivered { counters.reordered += 1 }
            highestDelivered = max(highestDelivered, due.packet.number)
        }
        return due.packet.bytes
    }

    /// Records whether the other end took a packet of ``nextDue(at:)``.
    mutating func wasDelivered(_ isDelivered: Bool, bytes: Int) {
        guard isDelivered else {
            counters.refused += 1
            return
        }
        counters.delivered += 1
        counters.deliveredBytes += UInt64(bytes)
    }

    /// When something happens next if nothing arrives.
    var nextMoment: ContinuousClock.Instant? {
        [firstLeaves, inOrder.first?.moment, heldBack.last?.moment].compactMap(\.self).min()
    }

    /// Moves what has left the bottleneck by `now` onto the wire, at the moment at which it left.
    private mutating func advance(to now: ContinuousClock.Instant) {
        while let left = firstLeaves, left <= now, let packet = queue.removeFirst() {
            queuedBytes -= packet.bytes.count
            counters.inside -= 1
            putOnWire(packet, at: left)
            firstLeaves = queue.first.map { left + serialisation(of: $0) }
        }
    }

    private func serialisation(of packet: Packet) -> Duration {
        guard let rate = impairment.rate else { return .zero }
        return .seconds(Double(packet.bytes.count * 8) / Double(rate))
    }

    /// Decides on what happens to a packet on the wire. Every kind of decision is made for every packet, so that none
    /// depends on the others.
    private mutating func putOnWire(_ packet: Packet, at start: ContinuousClock.Instant) {
        let isLost = random.loss.losesNext(impairment.loss)
        let isDoubled = random.duplication.happens(impairment.duplication)
        let isHeldBack = random.reordering.happens(impairment.reordering.probability)
        let deviation = random.jitter.deviation(impairment.jitter)
        guard !isLost else {
            counters.lost += 1
            return
        }
        guard inOrder.count + heldBack.count + 2 <= Self.wireCapacityPackets else {
            counters.droppedByWire += 1
            return
        }
        var moment = start + max(.zero, impairment.delay + deviation)
        if isHeldBack {
            moment += impairment.reordering.extraDelay
            counters.heldBack += 1
        } else {
            moment = max(moment, lastDue ?? moment)
            lastDue = moment
        }
        for isCopy in isDoubled ? [false, true] : [false] {
            let due = Due(packet: packet, moment: moment, isCopy: isCopy)
            if isHeldBack { holdBack(due) } else { inOrder.append(due) }
            counters.inside += 1
        }
        if isDoubled { counters.duplicated += 1 }
    }

    /// Inserts behind all that are due at the same moment or earlier; the array has the last one first.
    private mutating func holdBack(_ due: Due) {
        let place = heldBack.firstIndex { $0.moment <= due.moment } ?? heldBack.endIndex
        heldBack.insert(due, at: place)
    }

    /// Whether a packet is one that the link is for: IP, and for one receiver.
    private func isCarried(_ bytes: [UInt8]) -> Bool {
        // The version is in the first four bits; destinations begin at byte 16 (RFC 791) and 24 (RFC 8200).
        switch (bytes.first ?? 0) >> 4 {
        case 4: bytes.count >= 20 && bytes[16] < 224
        case 6: bytes.count >= 40 && bytes[24] != 0xff
        default: false
        }
    }
}
