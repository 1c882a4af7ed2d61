import Blocks
import Bus
import NATSClient
import OwnedThreads
import PrivateServers
import Telemetry
import TestKit
import Testing

struct StreamReaderTests {
    @Test func `everything from a start sequence comes in order, with its metadata`() throws {
        try BusFixture.run { bus in
            try bus.store(500, partition: 1)
            try bus.store(3, partition: 2)
            let reader = bus.reader()
            defer { reader.stop() }
            reader.add(1, from: 101)
            let messages = reader.read(400)
            #expect(messages.map(\.streamSequence) == (101...500).map { $0 })
            #expect(messages.map(\.consumerSequence) == (1...400).map { $0 })
            #expect(messages.allSatisfy { $0.tag == 1 })
            #expect(messages.map(\.text) == (101...500).map { "\($0)" })
            let first = try bus.jetStream.message(inStream: BusStream.events, sequence: 101)
            #expect(messages.first?.timestampNanoseconds == first.timestampNanoseconds)
            #expect(reader.statistics.consumersCreated == 1)
        }
    }

    @Test func `several partitions are read side by side, each at its own place`() throws {
        try BusFixture.run { bus in
            for partition in 0..<4 {
                try bus.store(300, partition: partition)
            }
            let reader = bus.reader()
            defer { reader.stop() }
            for partition in 0..<4 {
                reader.add(partition, from: 1)
            }
            let messages = reader.read(1_200)
            for partition in 0..<4 {
                let own = messages.filter { $0.tag == partition }
                #expect(own.map(\.text) == (1...300).map { "\($0)" })
            }
        }
    }

    @Test func `what is published later comes, and the end is known as the end`() throws {
        try BusFixture.run { bus in
            let reader = bus.reader()
            defer { reader.stop() }
            reader.add(0, from: 1)
            #expect(reader.next(until: .now + .milliseconds(50)).isEmpty)
            #expect(reader.position(of: 0)?.caughtUpAt != nil)
            for round in 1...3 {
                try bus.store(10, partition: 0, from: (round - 1) * 10 + 1)
                let messages = reader.read(10)
                #expect(messages.count == 10)
                #expect(reader.position(of: 0)?.nextSequence == UInt64(round * 10 + 1))
                #expect(reader.position(of: 0)?.caughtUpAt != nil)
            }
            // An idle server goes on saying so.
            let before = try #require(reader.position(of: 0)?.caughtUpAt)
            #expect(
                eventually {
                    _ = reader.next(until: .now + .milliseconds(20))
                    return (reader.position(of: 0)?.caughtUpAt ?? before) > before
                })
            #expect(reader.statistics.consumersCreated == 1)
        }
    }

    @Test func `a killed server costs neither a gap nor a repeat`() throws {
        try BusFixture.run { bus in
            try bus.store(1_000, partition: 0)
            let reader = bus.reader { $0.messagesPerRequest = 50 }
            defer { reader.stop() }
            reader.add(0, from: 1)
            var messages = reader.read(200)
            try bus.server.kill()
            messages += reader.next(until: .now + .milliseconds(50))
            try bus.server.restart()
            messages += reader.read(1_000 - messages.count)
            #expect(messages.map(\.streamSequence) == (1...1_000).map { $0 })
            #expect(reader.statistics.givenUpForReconnect == 1)
            // The server's own acknowledged messages survived the kill.
            try bus.store(1, partition: 0, from: 1_001)
            #expect(reader.read(1).map(\.text) == ["1001"])
        }
    }

    @Test func `a consumer that somebody deletes is made anew without a gap`() throws {
        try BusFixture.run { bus in
            let reader = bus.reader()
            defer { reader.stop() }
            try bus.store(20, partition: 0)
            reader.add(0, from: 1)
            #expect(reader.read(20).count == 20)
            for consumer in try bus.consumers() {
                try bus.jetStream.deleteConsumer(named: consumer, onStream: BusStream.events)
            }
            try bus.store(20, partition: 0, from: 21)
            #expect(reader.read(20).map(\.streamSequence) == (21...40).map { $0 })
            #expect(reader.statistics.givenUpAsGone == 1)
            #expect(reader.statistics.consumersCreated == 2)
        }
    }

    @Test func `a server that freezes and goes on costs neither a gap nor a repeat`() throws {
        try BusFixture.run { bus in
            let reader = bus.reader {
                $0.idleHeartbeat = .milliseconds(100)
                $0.silenceLimit = .milliseconds(300)
            }
            defer { reader.stop() }
            try bus.store(10, partition: 0)
            reader.add(0, from: 1)
            #expect(reader.read(10).count == 10)
            bus.server.pause()
            #expect(
                eventually {
                    _ = reader.next(until: .now + .milliseconds(20))
                    return reader.statistics.givenUpForSilence > 0
                })
            #expect(reader.position(of: 0)?.caughtUpAt == nil)
            bus.server.resume()
            try bus.store(10, partition: 0, from: 11)
            #expect(reader.read(10).map(\.streamSequence) == (11...20).map { $0 })
        }
    }

    @Test func `a paused partition stops soon and goes on later`() throws {
        try BusFixture.run { bus in
            try bus.store(100, partition: 0)
            let reader = bus.reader { $0.messagesPerRequest = 10 }
            defer { reader.stop() }
            reader.add(0, from: 1)
            var messages = reader.read(10)
            reader.pause(0)
            while true {
                let more = reader.next(until: .now + .milliseconds(100))
                guard !more.isEmpty else { break }
                messages += more
            }
            #expect(messages.count <= 30)
            reader.resume(0)
            messages += reader.read(100 - messages.count)
            #expect(messages.map(\.streamSequence) == (1...100).map { $0 })
        }
    }

    @Test func `a removed partition delivers no more, and can be read again from anywhere`() throws
    {
        try BusFixture.run { bus in
            try bus.store(100, partition: 0)
            try bus.store(5, partition: 1)
            let reader = bus.reader { $0.messagesPerRequest = 10 }
            defer { reader.stop() }
            reader.add(0, from: 1)
            #expect(!reader.read(10).isEmpty)
            reader.remove(0)
            reader.add(1, from: 1)
            #expect(reader.read(5).allSatisfy { $0.tag == 1 })
            #expect(reader.position(of: 0) == nil)
            reader.add(0, from: 96)
            #expect(reader.read(5).map(\.streamSequence) == (96...100).map { $0 })
            #expect(eventually { (try? bus.consumers().count) == 2 })
        }
    }

    @Test func `messages larger than a request come all the same`() throws {
        try BusFixture.run(configure: { $0.maxPayloadBytes = 1 << 20 }) { bus in
            let connection = try bus.connector.waitUntilConnected(within: .seconds(20))
            let large = [UInt8](repeating: 7, count: 900_000)
            for _ in 0..<12 {
                _ = try connection.request(
                    BusSubject.events(partition: 0), payload: large, timeout: .seconds(20))
            }
            let reader = bus.reader { $0.bytesPerRequest = 1 }
            defer { reader.stop() }
            reader.add(0, from: 1)
            let messages = reader.read(12)
            #expect(messages.map(\.streamSequence) == (1...12).map { $0 })
            #expect(messages.allSatisfy { $0.message.payloadByteCount == large.count })
            #expect(reader.statistics.consumersCreated == 1)
        }
    }

    @Test(arguments: [5, 10, 20])
    func `a stream made anew behind the reader is told, not read`(newCount: Int) throws {
        try BusFixture.run { bus in
            try bus.store(10, partition: 0)
            let reader = bus.reader()
            defer { reader.stop() }
            reader.add(0, from: 1)
            #expect(reader.read(10).count == 10)
            try bus.jetStream.deleteStream(named: BusStream.events)
            let streams = try ensureStreams(smallStreams(partitions: 4), on: bus.jetStream)
            try bus.store(newCount, partition: 0)
            let isTold = eventually {
                #expect(reader.next(until: .now + .milliseconds(20)).isEmpty)
                return reader.position(of: 0)?.discontinuity != nil
            }
            #expect(isTold)
            #expect(
                reader.position(of: 0)?.discontinuity
                    == .replaced(createdNanoseconds: streams.events.createdNanoseconds))
            #expect(reader.statistics.halted == 1)
            reader.add(0, from: 1)
            #expect(reader.read(newCount).map(\.text) == (1...newCount).map { "\($0)" })
        }
    }

    @Test func `a start behind the end of the stream is told at once`() throws {
        try BusFixture.run { bus in
            try bus.store(1_000, partition: 0)
            let reader = bus.reader()
            defer { reader.stop() }
            reader.add(0, from: 2_001)
            #expect(reader.next(until: .now + .seconds(20)).isEmpty)
            #expect(reader.position(of: 0)?.discontinuity == .wentBack(to: 1_000))
            reader.add(0, from: 1_001)
            #expect(reader.next(until: .now + .milliseconds(50)).isEmpty)
            #expect(reader.position(of: 0)?.discontinuity == nil)
        }
    }

    @Test func `a reader that starts before its server and stream reads when they are there`()
        throws
    {
        try withNATSServer { server in
            try server.stop()
            let connector = NATSConnector(options(server))
            defer { connector.stop() }
            let reader = StreamReader.events(connector: connector)
            defer { reader.stop() }
            reader.add(0, from: 1)
            #expect(reader.next(until: .now + .milliseconds(20)).isEmpty)
            try server.restart()
            let connection = try connector.waitUntilConnected(within: .seconds(20))
            #expect(
                eventually {
                    _ = reader.next(until: .now + .milliseconds(20))
                    return reader.lastError?.jetStreamCode == .streamNotFound
                })
            let streams = try ensureStreams(
                smallStreams(partitions: 1), on: JetStream(connection))
            let bus = BusFixture(server: server, connector: connector, streams: streams)
            try bus.store(3, partition: 0)
            #expect(reader.read(3).count == 3)
            #expect(reader.lastError == nil)
        }
    }

    @Test func `heartbeats are read by the same type`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                let request = Request()
                for number in 1...3 {
                    try publisher.publishHeartbeat(Array("\(number)".utf8), to: request.receipt)
                }
                publisher.commit(request.receipt)
                #expect(request.hasSucceeded)
            }
            let reader = StreamReader.heartbeats(connector: bus.connector)
            defer { reader.stop() }
            reader.add(0, from: 2)
            #expect(reader.read(2).map(\.text) == ["2", "3"])
        }
    }

    @Test func `a wake ends the waiting`() throws {
        try BusFixture.run { bus in
            let reader = bus.reader()
            defer { reader.stop() }
            let waker = OwnedThread(name: "waker") { reader.wake() }
            #expect(reader.next(until: .now + .seconds(3_600)).isEmpty)
            waker.join()
        }
    }

    @Test func `blocks go through the bus whole, over kills of the server`() throws {
        try BusFixture.run { bus in
            try bus.withPublisher { publisher in
                let reader = bus.reader()
                defer { reader.stop() }
                reader.add(0, from: 1)
                var acknowledged: Set<UInt64> = []
                var read: [UInt64] = []
                var numbers: [UInt64] = []
                for round in UInt64(0)..<3 {
                    var requests: [(UInt64, Request)] = []
                    for index in UInt64(0)..<500 {
                        let number = round * 500 + index
                        requests.append((number, publisher.publish(number)))
                        if index == 300 {
                            // Something must be acknowledged before the kill, however slow.
                            #expect(requests.first?.1.hasSucceeded == true)
                            try bus.server.kill()
                        }
                    }
                    try bus.server.restart()
                    for (number, request) in requests where request.hasSucceeded {
                        acknowledged.insert(number)
                    }
                    #expect(eventually { publisher.isAccepting })
                }
                _ = publisher.publish(9_999).hasSucceeded
                while read.last != 9_999 {
                    for message in reader.next(until: .now + .seconds(20)) {
                        let block = try StoredBlock(message.message)
                        numbers.append(block.number)
                        read += block.events
                    }
                }
                #expect(!acknowledged.isEmpty)
                #expect(acknowledged.isSubset(of: read))
                #expect(Set(read).count == read.count)
                #expect(numbers == numbers.sorted())
                #expect(Set(numbers).count == numbers.count)
            }
        }
    }
}

extension BusFixture {
    func reader(_ configure: (inout ReaderSettings) -> Void = { _ in }) -> StreamReader {
        var settings = ReaderSettings()
        configure(&settings)
        return .events(connector: connector, settings: settings)
    }

    /// Stores plain messages with the texts `first`, `first + 1`, …
    func store(_ count: Int, partition: Int, from first: Int = 1) throws {
        let connection = try connector.waitUntilConnected(within: .seconds(20))
        for number in first..<first + count {
            _ = try connection.request(
                BusSubject.events(partition: partition), payload: Array("\(number)".utf8),
                timeout: .seconds(20))
        }
    }

    /// The names of the consumers of the events stream.
    func consumers() throws -> [String] {
        let connection = try connector.waitUntilConnected(within: .seconds(20))
        let answer = try connection.request(
            "$JS.API.CONSUMER.NAMES.\(BusStream.events)", payload: [], timeout: .seconds(20))
        let text = answer.withUnsafePayload { String(decoding: $0, as: UTF8.self) }
        return text.split(separator: "\"").filter { $0.hasPrefix("qoe-") }.map(String.init)
    }
}

extension StreamReader {
    /// Reads until `count` messages have come, or nothing comes for long.
    func read(_ count: Int) -> [BusMessage] {
        var messages: [BusMessage] = []
        let deadline = ContinuousClock.now + .seconds(30)
        while messages.count < count, ContinuousClock.now < deadline {
            messages += next(until: deadline)
        }
        return messages
    }
}

extension BusMessage {
    var text: String {
        message.withUnsafePayload { String(decoding: $0, as: UTF8.self) }
    }
}
