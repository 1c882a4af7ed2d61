import Bus
import NATSClient
import OwnedThreads
import PrivateServers
import Telemetry
import TestKit
import Testing

struct EnsureStreamsTests {
    @Test func `streams are made once and found again`() throws {
        try BusFixture.run(partitions: 3) { bus in
            let again = try ensureStreams(smallStreams(partitions: 3), on: bus.jetStream)
            #expect(again.events.createdNanoseconds == bus.streams.events.createdNanoseconds)
            #expect(again.events.configuration.subjects.count == 3)
            #expect(again.events.configuration.discard == .new)
            #expect(again.deadLetters.configuration.subjects == ["telemetry.dlq.>"])
        }
    }

    @Test func `a service without a wish takes the recorded partition count`() throws {
        try BusFixture.run(partitions: 5) { bus in
            var settings = smallStreams(partitions: 5)
            settings.partitioning = nil
            let streams = try ensureStreams(settings, on: bus.jetStream)
            #expect(streams.partitioning.count == 5)
        }
    }

    @Test func `another partition count is refused with both counts`() throws {
        try BusFixture.run(partitions: 4) { bus in
            let problems = try problems {
                _ = try ensureStreams(smallStreams(partitions: 8), on: bus.jetStream)
            }
            #expect(problems.map(\.setting) == ["partition count"])
            #expect(problems.first?.stream == BusStream.events)
            #expect(problems.first?.found == "4")
            #expect(problems.first?.wanted == "8")
        }
    }

    @Test func `settings that lose messages are refused, each with advice`() throws {
        try BusFixture.run { bus in
            let jetStream = try bus.jetStream
            try jetStream.deleteStream(named: BusStream.diagnoses)
            var lossy = StreamConfiguration(
                name: BusStream.diagnoses, subjects: [BusSubject.diagnoses])
            lossy.maxAge = .seconds(60)
            lossy.maxMessages = 10
            _ = try jetStream.createStream(lossy)
            let problems = try problems {
                _ = try ensureStreams(smallStreams(partitions: 4), on: jetStream)
            }
            #expect(
                Set(problems.map(\.setting)) == [
                    "discard policy", "maximum age", "maximum number of messages", "maximum size",
                ])
            #expect(problems.allSatisfy { !$0.advice.isEmpty })
        }
    }

    @Test func `a stream grows to the wanted size and never shrinks`() throws {
        try BusFixture.run { bus in
            var settings = smallStreams(partitions: 4)
            settings.eventsByteCountMax *= 2
            settings.heartbeatsByteCountMax /= 2
            let streams = try ensureStreams(settings, on: bus.jetStream)
            #expect(streams.events.configuration.maxBytes == 512 << 20)
            #expect(streams.heartbeats.configuration.maxBytes == 16 << 20)
        }
    }

    @Test func `two services may start at once`() throws {
        try withNATSServer { server in
            let failures = Monitor<[String]>([])
            let threads = (0..<4).map { index in
                OwnedThread(name: "service \(index)") {
                    do {
                        let connection = try NATSConnection(options(server))
                        _ = try ensureStreams(
                            smallStreams(partitions: 4), on: JetStream(connection))
                    } catch {
                        failures.update { $0.append("\(error)") }
                    }
                }
            }
            threads.forEach { $0.join() }
            #expect(failures.withLock { $0 } == [])
        }
    }

    @Test func `a server without room says which limit to raise`() throws {
        try withNATSServer(configure: { $0.maxFileStoreBytes = 1 << 20 }) { server in
            let connection = try NATSConnection(options(server))
            do {
                _ = try ensureStreams(smallStreams(partitions: 4), on: JetStream(connection))
                Issue.record("streams without room")
            } catch {
                guard case StreamError.noRoom = error else { throw error }
                #expect("\(error)".contains("max_file_store"))
            }
        }
    }

    private func problems(_ body: () throws -> Void) throws -> [StreamProblem] {
        do {
            try body()
            return []
        } catch StreamError.unfit(let problems) {
            return problems
        }
    }
}
