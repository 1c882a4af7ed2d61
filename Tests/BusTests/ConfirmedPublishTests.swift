import Bus
import NATSClient
import PrivateServers
import Testing
import TestKit

@Suite struct ConfirmedPublishTests {
    @Test func `a reason becomes one token of a subject`() {
        #expect(BusSubject.deadLetters(reason: "wrong_checksum") == "telemetry.dlq.wrong_checksum")
        #expect(BusSubject.deadLetters(reason: "a.b *>\u{E9}") == "telemetry.dlq.a_b_____")
        #expect(BusSubject.deadLetters(reason: "") == "telemetry.dlq.unknown")
        let long = String(repeating: "x", count: 500)
        #expect(BusSubject.deadLetters(reason: long).utf8.count == "telemetry.dlq.".count + 64)
    }

    @Test func `what JetStream did with a message is told`() throws {
        try withNATSServer { server in
            let connector = NATSConnector(NATSOptions(urls: [server.url], name: "test"))
            defer { connector.stop() }
            let connection = try connector.waitUntilConnected(within: .seconds(10))
            func publish(
                _ bytes: [UInt8], id: String
            ) throws(PublishError) -> ConfirmedPublish {
                try publishConfirmed(
                    bytes, to: "telemetry.dlq.x", stream: BusStream.deadLetters,
                    headers: [("Nats-Msg-Id", id), ("Qoe-Key", "k")], over: connection,
                    within: .seconds(5))
            }
            let missing = #expect(throws: PublishError.self) { try publish([1], id: "a") }
            #expect(missing?.code == .refused)

            let jetStream = JetStream(connection)
            _ = try ensureStreams(StreamSettings(), on: jetStream)
            #expect(try publish([1, 0, 2], id: "a") == .stored(sequence: 1))
            #expect(try publish([3], id: "b") == .stored(sequence: 2))
            #expect(try publish([1, 0, 2], id: "a") == .known(sequence: 1))
            let stored = try jetStream.message(inStream: BusStream.deadLetters, sequence: 1)
            #expect(stored.message.withUnsafePayload { Array($0) } == [1, 0, 2])
            #expect(stored.message.header("Qoe-Key") == "k")

            let large = [UInt8](repeating: 0, count: connection.maxPayloadBytes)
            let tooLarge = #expect(throws: PublishError.self) { try publish(large, id: "c") }
            #expect(tooLarge?.code == .tooLarge)
        }
    }
}
