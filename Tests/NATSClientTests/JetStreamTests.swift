import NATSClient
import PrivateServers
import TestKit
import Testing

struct JetStreamTests {
    @Test func `a stream is made with every setting and described the same`() throws {
        try withJetStream { jetStream, _ in
            var wanted = StreamConfiguration(name: "S", subjects: ["s.0", "s.1"])
            wanted.description = "a test"
            wanted.discard = .new
            wanted.maxBytes = 1 << 20
            wanted.maxAge = .seconds(3600)
            wanted.allowsDirectReads = true
            wanted.maxMessageBytes = 4096
            let made = try jetStream.createStream(wanted)
            let found = try jetStream.stream(named: "S")
            #expect(made.configuration == wanted)
            #expect(found.configuration == wanted)
            #expect(found.createdNanoseconds == made.createdNanoseconds)
            #expect(found.createdNanoseconds > 0)
            #expect(found.lastSequence == 0)
        }
    }

    @Test func `an unknown stream has JetStream's own code`() throws {
        try withJetStream { jetStream, _ in
            do {
                _ = try jetStream.stream(named: "missing")
                Issue.record("found a stream that is not there")
            } catch JetStreamErrorCode.streamNotFound {
            }
        }
    }

    @Test func `a name in use by another configuration is refused`() throws {
        try withJetStream { jetStream, _ in
            _ = try jetStream.createStream(StreamConfiguration(name: "S", subjects: ["s"]))
            do {
                _ = try jetStream.createStream(StreamConfiguration(name: "S", subjects: ["t"]))
                Issue.record("two streams under one name")
            } catch JetStreamErrorCode.streamNameInUse {
            }
        }
    }

    @Test func `growing a stream changes nothing else`() throws {
        try withJetStream { jetStream, _ in
            var wanted = StreamConfiguration(name: "S", subjects: ["s"])
            wanted.discard = .new
            wanted.maxBytes = 1 << 20
            _ = try jetStream.createStream(wanted)
            let grown = try jetStream.setMaxBytes(2 << 20, ofStream: "S")
            wanted.maxBytes = 2 << 20
            #expect(grown.configuration == wanted)
        }
    }

    @Test func `a stored message is read with sequence and time`() throws {
        try withJetStream { jetStream, connection in
            let stream = try jetStream.createStream(
                StreamConfiguration(name: "S", subjects: ["s.>"]))
            for value in UInt8(1)...3 {
                _ = try connection.request("s.\(value)", payload: [value], timeout: .seconds(5))
            }
            let stored = try jetStream.message(inStream: "S", sequence: 2)
            #expect(stored.sequence == 2)
            #expect(stored.subject == "s.2")
            #expect(stored.timestampNanoseconds >= stream.createdNanoseconds)
            #expect(stored.message.withUnsafePayload { Array($0) } == [2])
            do {
                _ = try jetStream.message(inStream: "S", sequence: 4)
                Issue.record("read a message that is not there")
            } catch JetStreamErrorCode.messageNotFound {
            }
        }
    }

    @Test func `a purge by sequence keeps that sequence`() throws {
        try withJetStream { jetStream, connection in
            _ = try jetStream.createStream(StreamConfiguration(name: "S", subjects: ["s"]))
            for _ in 0..<5 {
                _ = try connection.request("s", payload: [], timeout: .seconds(5))
            }
            try jetStream.purgeStream(named: "S", below: 3)
            let stream = try jetStream.stream(named: "S")
            #expect(stream.firstSequence == 3)
            #expect(stream.lastSequence == 5)
            #expect(stream.messageCount == 3)
        }
    }

    @Test func `a consumer starts at its sequence and can be deleted`() throws {
        try withJetStream { jetStream, connection in
            _ = try jetStream.createStream(StreamConfiguration(name: "S", subjects: ["s.>"]))
            for value in 0..<4 {
                _ = try connection.request("s.\(value % 2)", payload: [], timeout: .seconds(5))
            }
            let consumer = try jetStream.createConsumer(
                ConsumerConfiguration(name: "c", startSequence: 2, filterSubject: "s.1"),
                onStream: "S")
            #expect(consumer.name == "c")
            #expect(consumer.stream == "S")
            #expect(consumer.pendingCount == 2)
            try jetStream.deleteConsumer(named: "c", onStream: "S")
            do {
                try jetStream.deleteConsumer(named: "c", onStream: "S")
                Issue.record("deleted twice")
            } catch JetStreamErrorCode.consumerNotFound {
            }
        }
    }

    private func withJetStream(_ body: (JetStream, NATSConnection) throws -> Void) throws {
        try withNATSServer { server in
            let connection = try NATSConnection(options(server.url))
            defer { connection.close() }
            try body(JetStream(connection), connection)
        }
    }
}
