import Blocks
import Bus
import Foundation
import NATSClient
import PrivateServers
import Telemetry
import TestKit

/// The messages of the events stream, as they are on the server's disk.
struct StreamContents {
    struct Message {
        let sequence: UInt64
        let partition: Int
        /// Nil when it is no block.
        let events: [OracleEvent]?
    }

    /// By sequence.
    let messages: [Message]
    let lastSequence: UInt64

    struct Incomplete: Error {
        let read: Int
        let wanted: UInt64
        let cause: String
    }

    /// Reads the stream of a running server.
    ///
    /// - Parameter start: The first sequence to read.
    init(url: String, from start: UInt64 = 1) throws {
        let connector = NATSConnector(NATSOptions(urls: [url], name: "oracle"))
        defer { connector.stop() }
        let connection = try connector.waitUntilConnected(within: .seconds(20))
        let stream = try JetStream(connection).stream(named: BusStream.events)
        lastSequence = stream.lastSequence
        let first = max(start, stream.firstSequence)
        guard stream.messageCount > 0, first <= lastSequence else {
            messages = []
            return
        }
        // Only the oldest are ever removed.
        let wanted = lastSequence - first + 1
        let reader = StreamReader(connector: connector, stream: BusStream.events) { _ in nil }
        defer { reader.stop() }
        reader.add(0, from: first)
        var messages: [Message] = []
        let deadline = ContinuousClock.now + .seconds(120)
        while UInt64(messages.count) < wanted {
            guard ContinuousClock.now < deadline else {
                throw Incomplete(
                    read: messages.count, wanted: wanted,
                    cause: "\(String(describing: reader.lastError))")
            }
            messages += reader.next(until: .now + .milliseconds(200)).map(Message.init)
        }
        self.messages = messages
    }

    /// Reads the stream in a store folder that no server uses.
    init(storeFolder: String, from start: UInt64 = 1) throws {
        self = try withTemporaryFolder { folder in
            try FileManager.default.copyItem(
                atPath: storeFolder, toPath: "\(folder)/jetstream")
            let server = try NATSServer(.init(dataFolder: folder))
            defer { try? server.kill() }
            return try StreamContents(url: server.url, from: start)
        }
    }

    /// The last sequence in a store folder that no server uses.
    static func lastSequence(inStoreFolder folder: String) throws -> UInt64 {
        try StreamContents(storeFolder: folder, from: .max).lastSequence
    }

    var events: [OracleEvent] { messages.flatMap { $0.events ?? [] } }
}

extension StreamContents.Message {
    init(_ message: BusMessage) {
        sequence = message.streamSequence
        let subject = message.message.subject
        partition = subject.split(separator: ".").last.flatMap { Int($0) } ?? -1
        events = message.message.withUnsafePayload { bytes in
            guard let reader = try? BlockReader(validating: bytes) else { return nil }
            return (0..<reader.eventCount).map { OracleEvent(reader.record($0), in: reader) }
        }
    }
}

extension OracleEvent {
    init(_ record: BlockRecord, in reader: BlockReader) {
        let origin = reader.origin(record.origin)
        func text(_ index: UInt32) -> String {
            String(decoding: reader.string(index), as: UTF8.self)
        }
        var millionths: [Int: Int64] = [:]
        var next = record.firstValue
        for metric in Sample.metrics.indices where record.mask & 1 << metric != 0 {
            millionths[metric] = Int64(reader.value(next).millionths)
            next += 1
        }
        var context = SampleContext()
        context.networkType = origin.networkType.map(text)
        context.isp = origin.isp.map(text)
        context.region = origin.region.map(text)
        context.resolver = origin.resolver.map(text)
        context.sourceIP = origin.sourceIP.map(text)
        context.asn = origin.asn.map(Int64.init)
        self.init(
            eventID: "\(record.eventID)", client: text(origin.client), target: text(record.target),
            measuredAtMilliseconds: record.measuredAtMilliseconds,
            receivedAtMilliseconds: record.receivedAtMilliseconds, millionths: millionths,
            errorStage: record.errorStage?.name, context: context,
            numbered: origin.session.map {
                .init(session: "\($0)", number: Int64(record.sequenceNumber))
            })
    }
}
