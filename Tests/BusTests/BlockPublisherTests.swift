import Blocks
import Bus
import NATSClient
import OwnedThreads
import PrivateServers
import Telemetry
import Synchronization
import TestKit
import Testing

struct BlockPublisherTests {
    @Test func `an acknowledged event is in the stream`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                #expect(publisher.publish(42, partition: 3).hasSucceeded)
                let blocks = try bus.jetStream.blocks(partition: 3)
                #expect(blocks.map(\.events) == [[42]])
                #expect(blocks.first?.producer == publisher.producer)
                #expect(publisher.statistics.eventsAcknowledged == 1)
                #expect(publisher.statistics.byteCount == 0)
            }
        }
    }

    @Test func `acknowledged messages that a stream has lost are told, to the exact sequence`()
        throws
    {
        try BusFixture.run { bus in
            let losses = Mutex<[StreamLoss]>([])
            try bus.withPublisher(onLoss: { loss in losses.withLock { $0.append(loss) } }) {
                publisher in
                for number in 1...9 as ClosedRange<UInt64> {
                    #expect(publisher.publish(number, partition: 3).hasSucceeded)
                }
                #expect(losses.withLock { $0 } == [])
                // Made anew under the same name, as after a power cut that took all of it.
                let configuration = try bus.jetStream.stream(named: BusStream.events).configuration
                try bus.jetStream.deleteStream(named: BusStream.events)
                _ = try bus.jetStream.createStream(configuration)
                for number in 1...20 as ClosedRange<UInt64> {
                    #expect(publisher.publish(number, partition: 3).hasSucceeded)
                }
                let expected = StreamLoss(stream: BusStream.events, sequences: 1...9)
                #expect(losses.withLock { $0 } == [expected])
                #expect(publisher.statistics.streamLosses == 1)
            }
        }
    }

    @Test func `one request over several partitions succeeds when all are stored`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                let request = Request()
                for number in UInt64(0)..<40 {
                    try publisher.append(partition: Int(number % 4), to: request.receipt) {
                        $0.append(event(number), receivedAtMilliseconds: 1)
                    }
                }
                publisher.commit(request.receipt)
                #expect(request.hasSucceeded)
                for partition in 0..<4 {
                    let stored = try bus.jetStream.blocks(partition: partition)
                        .flatMap(\.events)
                    #expect(stored == (0..<10).map { UInt64($0 * 4 + partition) })
                }
            }
        }
    }

    @Test func `a request without events succeeds at once`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                let request = Request()
                publisher.commit(request.receipt)
                #expect(request.wait(within: .zero) != nil)
                #expect(request.hasSucceeded)
            }
        }
    }

    @Test func `small appends from many threads all arrive in dense blocks`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher(configure: { $0.blockByteCountMax = 8 << 10 }) { publisher in
                let threadCount = 4
                let perThread = 2_500
                let done = Monitor(0)
                let failed = Monitor(0)
                let threads = (0..<threadCount).map { thread in
                    OwnedThread(name: "sender \(thread)") {
                        for index in 0..<perThread {
                            let number = UInt64(thread * perThread + index)
                            let receipt = PublishReceipt { outcome in
                                if case .failure = outcome { failed.withLock { $0 += 1 } }
                                done.update { $0 += 1 }
                            }
                            try? publisher.append(partition: index % 2, to: receipt) {
                                $0.append(event(number), receivedAtMilliseconds: 1)
                            }
                            publisher.commit(receipt)
                        }
                    }
                }
                threads.forEach { $0.join() }
                let total = threadCount * perThread
                let all = done.wait(until: .now + .seconds(60)) { $0 == total ? true : nil }
                #expect(all == true)
                #expect(failed.withLock { $0 } == 0)
                #expect(publisher.statistics.byteCount == 0)
                #expect(publisher.statistics.eventsAcknowledged == total)

                var stored: [UInt64] = []
                for partition in 0..<2 {
                    let blocks = try bus.jetStream.blocks(partition: partition)
                    // Order of a thread's own events is kept, and no number is missing.
                    #expect(blocks.map(\.number) == (1...UInt64(blocks.count)).map { $0 })
                    let events = blocks.flatMap(\.events)
                    for thread in 0..<threadCount {
                        let range = UInt64(thread * perThread)..<UInt64((thread + 1) * perThread)
                        let own = events.filter(range.contains)
                        #expect(own == own.sorted())
                    }
                    stored += events
                }
                #expect(stored.sorted() == (0..<UInt64(total)).map { $0 })
                #expect(publisher.statistics.blocksSent < total)
            }
        }
    }

    @Test func `without a server an append is refused at once`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                try bus.server.kill()
                #expect(eventually { !publisher.isAccepting })
                let request = publisher.publish(1)
                #expect(request.wait(within: .zero) != nil)
                #expect(request.error?.code == .unavailable)
                #expect(publisher.statistics.refusedUnavailable == 1)
            }
        }
    }

    @Test func `what is on its way fails with the connection, and later sends succeed`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                #expect(publisher.publish(1).hasSucceeded)
                bus.server.pause()
                let lost = (2..<20).map { publisher.publish($0) }
                try bus.server.kill()
                for request in lost {
                    #expect(request.error?.code == .unavailable)
                    #expect(request.error?.isRetriable == true)
                }
                #expect(publisher.statistics.byteCount == 0)
                try bus.server.restart()
                #expect(eventually { publisher.isAccepting })
                #expect(publisher.publish(100).hasSucceeded)

                let blocks = try bus.jetStream.blocks(partition: 0)
                let numbers = blocks.map(\.number)
                #expect(numbers == numbers.sorted())
                #expect(Set(numbers).count == numbers.count)
                #expect(blocks.first?.events == [1])
                #expect(blocks.last?.events == [100])
            }
        }
    }

    @Test func `a frozen server makes receipts time out and later ones succeed`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher(configure: { $0.acknowledgementLimit = .milliseconds(200) }) {
                publisher in
                bus.server.pause()
                let request = publisher.publish(1)
                #expect(request.error?.code == .timeout)
                #expect(publisher.statistics.blocksTimedOut == 1)
                bus.server.resume()
                #expect(eventually { publisher.publish(2).hasSucceeded })
                // The late acknowledgement of the first block is counted, not taken for another.
                #expect(eventually { publisher.statistics.answersLate >= 1 })
            }
        }
    }

    @Test func `at the bound of waiting bytes appends are refused and counted`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher(configure: {
                $0.byteCountMax = 4 << 10
                $0.acknowledgementLimit = .seconds(60)
            }) { publisher in
                bus.server.pause()
                var taken: [Request] = []
                var refused: Request?
                for number in UInt64(0)..<1_000 where refused == nil {
                    let request = publisher.publish(number)
                    if publisher.statistics.refusedOverloaded == 0 {
                        taken.append(request)
                    } else {
                        refused = request
                    }
                }
                #expect(refused?.error?.code == .overloaded)
                #expect(!publisher.isAccepting)
                bus.server.resume()
                for request in taken {
                    #expect(request.hasSucceeded)
                }
                #expect(publisher.isAccepting)
                #expect(publisher.publish(5_000).hasSucceeded)
            }
        }
    }

    @Test func `a partition that no stream has is refused with what to look for`() throws {
        try BusFixture.run(partitions: 2) { bus in
            try bus.withPublisher(configure: { $0.partitioning = .standard }) { publisher in
                let error = try #require(publisher.publish(1, partition: 9).error)
                #expect(error.code == .refused)
                #expect(error.text.contains("fewer partitions"))
            }
        }
    }

    @Test func `a full stream refuses and keeps what it has`() throws {
        try withNATSServer { server in
            let connector = NATSConnector(options(server))
            defer { connector.stop() }
            let connection = try connector.waitUntilConnected(within: .seconds(20))
            var settings = smallStreams(partitions: 1)
            settings.eventsByteCountMax = 16 << 10
            let streams = try ensureStreams(settings, on: JetStream(connection))
            let bus = BusFixture(server: server, connector: connector, streams: streams)
            try bus.withPublisher { publisher in
                var stored: UInt64 = 0
                var refusal: PublishError?
                while refusal == nil, stored < 10_000 {
                    refusal = publisher.publish(stored).error
                    stored += refusal == nil ? 1 : 0
                }
                #expect(refusal?.code == .refused)
                #expect(refusal?.text.contains("maximum bytes") == true)
                let events = try bus.jetStream.blocks(partition: 0).flatMap(\.events)
                #expect(events == (0..<stored).map { $0 })
            }
        }
    }

    @Test func `an event that fits into no block is refused as too large`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                let request = Request()
                #expect(throws: PublishError.self) {
                    try publisher.append(partition: 0, to: request.receipt) { _ in false }
                }
                publisher.commit(request.receipt)
                #expect(request.error?.code == .tooLarge)
                #expect(request.error?.isRetriable == false)
            }
        }
    }

    @Test func `blocks shrink to what the server takes`() throws {
        try BusFixture.run(configure: { $0.maxPayloadBytes = 8 << 10 }) { bus in
            try bus.withPublisher { publisher in
                let request = Request()
                for number in UInt64(0)..<1_000 {
                    try publisher.append(partition: 0, to: request.receipt) {
                        $0.append(event(number), receivedAtMilliseconds: 1)
                    }
                }
                publisher.commit(request.receipt)
                #expect(request.hasSucceeded)
                let events = try bus.jetStream.blocks(partition: 0).flatMap(\.events)
                #expect(events == (0..<1_000).map { $0 })
            }
        }
    }

    @Test func `a heartbeat is stored as it is`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                let request = Request()
                try publisher.publishHeartbeat(Array("{}".utf8), to: request.receipt)
                publisher.commit(request.receipt)
                #expect(request.hasSucceeded)
                let stored = try bus.jetStream.message(
                    inStream: BusStream.heartbeats, sequence: 1)
                #expect(stored.message.withUnsafePayload { Array($0) } == Array("{}".utf8))
            }
        }
    }

    @Test func `a stop waits for what is committed and refuses the rest`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                let requests = (0..<100).map { publisher.publish($0) }
                publisher.stop()
                for request in requests {
                    #expect(request.hasSucceeded)
                }
                #expect(publisher.publish(101).error?.code == .unavailable)
            }
        }
    }

    @Test func `a stop without answers ends at its limit`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                bus.server.pause()
                let request = publisher.publish(1)
                publisher.stop(within: .milliseconds(100))
                #expect(request.error?.code == .stopped)
            }
        }
    }
}
