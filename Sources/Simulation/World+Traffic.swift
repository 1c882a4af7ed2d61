internal import Blocks
internal import Telemetry
internal import TestKit

/// A client that measures.
struct Probe {
    let client: Name
    let partition: Int
    let isNumbered: Bool
    var session: UniqueID
    var nextNumber: UInt64 = 1
}

/// Probes, and an ingest that gathers their events into blocks.
extension World {
    /// Copies of an event without a number come within this time, so that its identifier is remembered.
    private static let unnumberedRetryMilliseconds: Int64 = 14 * 60 * 1000
    private static let blockEventCountMax = 6

    func makeProbes() {
        for number in 0..<Int(pick(3...6)) {
            let name = "probe-\(number)"
            probes.append(
                Probe(
                    client: Name(name), partition: partitioning.partition(ofClient: name),
                    isNumbered: chance(65), session: UniqueID.random(using: &random)))
        }
    }

    /// A probe posts some events.
    func post() {
        let index = Int(random.next() % UInt64(probes.count))
        if chance(4) {
            probes[index].session = UniqueID.random(using: &random)
            probes[index].nextNumber = 1
        }
        for _ in 0..<Int(pick(1...4)) {
            if chance(5) { probes[index].nextNumber += pick(1...3) }
            let isNonsense = !isBrokerClockWild && chance(mix.nonsense)
            let event = makeEvent(of: probes[index], isNonsense: isNonsense)
            probes[index].nextNumber += 1
            outbox[probes[index].partition].append(events.count)
            events.append(
                SimulatedEvent(
                    event: event, partition: probes[index].partition, isNonsense: isNonsense))
            copies.append([])
            coverage.events += 1
        }
    }

    private func makeEvent(of probe: Probe, isNonsense: Bool) -> Event {
        let day: Int64 = 24 * 3600 * 1000
        var measuredAt = time.milliseconds / 2000 * 2000
        if isNonsense {
            measuredAt += 400 * day
        } else if chance(mix.late) {
            measuredAt -= pick(1...6 * 60) * 60_000
            coverage.lateEvents += 1
        }
        var event = Event(
            id: UniqueID.random(using: &random), clientID: probe.client,
            target: chance(70) ? "https://a.example" : "https://b.example",
            measuredAtMilliseconds: measuredAt)
        event.context.networkType = [nil, "wifi", "cellular", "ethernet"][Int(random.next() % 4)]
        for metric in [Metric.dns, .tcp, .total, .loss] where chance(60) {
            event.metrics[metric] = MetricValue(millionths: pick(0...100_000_000))
        }
        if chance(15) { event.errorStage = .tcp }
        if probe.isNumbered {
            event.sequence = SessionSequence(session: probe.session, number: probe.nextNumber)
        }
        return event
    }

    /// Publishes a block of some partition, and what else is due.
    func publishSomething() {
        sendDue()
        publish(Int(random.next() % UInt64(partitionCount)))
    }

    /// Publishes all that waits.
    func publishRest() {
        sendDue(now: true)
        for partition in outbox.indices {
            while !outbox[partition].isEmpty { publish(partition) }
        }
    }

    private func sendDue(now isNow: Bool = false) {
        for (event, _) in later.filter({ isNow || $0.at <= time.milliseconds }) {
            outbox[events[event].partition].append(event)
        }
        later.removeAll { isNow || $0.at <= time.milliseconds }
        let due = ghosts.filter { isNow || $0.at <= time.milliseconds }
        ghosts.removeAll { isNow || $0.at <= time.milliseconds }
        for ghost in due where ghost.draft.copies.allSatisfy({ maySend($0.event) }) {
            coverage.ghosts += 1
            store(ghost.draft)
        }
    }

    private func maySend(_ index: Int) -> Bool {
        let event = events[index]
        guard !event.isNumbered else { return true }
        guard !event.isAbandoned else { return false }
        guard let first = event.firstStoredAt, !isBrokerClockWild else { return true }
        let now = time.milliseconds + broker.clockOffset
        return now - first < Self.unnumberedRetryMilliseconds
    }

    private func publish(_ partition: Int) {
        var sent: [Int] = []
        while let event = outbox[partition].first, sent.count < Self.blockEventCountMax {
            outbox[partition].removeFirst()
            if maySend(event), !sent.contains(event) { sent.append(event) }
        }
        if hasFaults { publishOddities(partition) }
        guard !sent.isEmpty else { return }
        let received = time.milliseconds
        let copies = sent.map { EventCopy(event: $0, receivedAtMilliseconds: received) }
        let isLethal = hasFaults && rare(mix.lethal)
        guard
            let payload = block(of: copies, claiming: partition)
        else { return fail("a block does not take its events") }
        let draft = MessageDraft(
            partition: partition, kind: isLethal ? .lethal : .events, copies: copies,
            payload: payload)
        guard hasFaults else { return acknowledge(draft, store(draft)) }
        publish(draft)
    }

    private func publish(_ draft: MessageDraft) {
        let partition = draft.partition
        let roll = Int(random.next() % 100)
        if broker.isDown || roll < mix.refused {
            sendAgain(draft)
        } else if roll < mix.refused + mix.ghost {
            // The client saw a timeout; the message comes all the same.
            ghosts.append((draft, time.milliseconds + pick(10...60_000)))
            sendAgain(draft)
        } else if roll < mix.refused + mix.ghost + mix.unanswered {
            let message = store(draft)
            note("partition \(partition): \(message.sequence) is stored, not answered")
            coverage.unanswered += 1
            sendAgain(draft)
        } else {
            let message = store(draft)
            note("partition \(partition): \(message.sequence) is acknowledged")
            acknowledge(draft, message)
            if chance(mix.doubled) {
                coverage.doubled += 1
                store(draft)
            }
        }
    }

    private func publishOddities(_ partition: Int) {
        guard !broker.isDown else { return }
        if rare(mix.undecodable) {
            coverage.undecodable += 1
            store(
                MessageDraft(
                    partition: partition, kind: .undecodable, copies: [],
                    payload: Array("nonsense \(random.next())".utf8)))
        }
        if rare(mix.wrongPartition), let payload = block(of: [], claiming: partition + 1) {
            coverage.wrongPartition += 1
            store(
                MessageDraft(
                    partition: partition, kind: .wrongPartition, copies: [], payload: payload))
        }
    }

    private func block(of copies: [EventCopy], claiming partition: Int) -> [UInt8]? {
        blockNumber += 1
        var builder = BlockBuilder(
            partition: partition, producer: .zero, byteCountMax: 1 << 20)
        for copy in copies {
            guard
                builder.append(
                    events[copy.event].event, receivedAtMilliseconds: copy.receivedAtMilliseconds)
            else { return nil }
        }
        return builder.seal(blockNumber: blockNumber)
    }

    private func sendAgain(_ draft: MessageDraft) {
        for copy in draft.copies { later.append((copy.event, time.milliseconds + pick(100...10_000))) }
    }

    @discardableResult
    private func store(_ draft: MessageDraft) -> StoredMessage {
        let message = broker.store(draft, at: time.milliseconds)
        coverage.messagesStored += 1
        for copy in draft.copies {
            copies[copy.event].append(message)
            if events[copy.event].firstStoredAt == nil {
                events[copy.event].firstStoredAt = message.brokerMilliseconds
            }
        }
        return message
    }

    private func acknowledge(_ draft: MessageDraft, _ message: StoredMessage) {
        for copy in draft.copies {
            events[copy.event].isAcknowledged = true
            guard hasFaults, chance(mix.sentAgain) else { continue }
            // The acknowledgement did not reach the client.
            let isLong = events[copy.event].isNumbered && chance(30)
            let delay: Int64 = isLong ? pick(3_600_000...7_200_000) : pick(100...300_000)
            later.append((copy.event, time.milliseconds + delay))
        }
    }
}
