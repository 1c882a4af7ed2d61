import Blocks
import Bus
import NATSClient
import OwnedThreads
import PrivateServers
import Telemetry
import TestKit

/// A private server with the platform's streams and a connector to it.
struct BusFixture {
    let server: NATSServer
    let connector: NATSConnector
    let streams: BusStreams

    var jetStream: JetStream {
        get throws { JetStream(try connector.waitUntilConnected(within: .seconds(20))) }
    }

    /// Runs `body` on a fresh fixture with `partitions` partitions.
    static func run(
        partitions: Int = 4, configure: (inout NATSServer.Settings) -> Void = { _ in },
        _ body: (BusFixture) throws -> Void
    ) throws {
        try withNATSServer(configure: configure) { server in
            let connector = NATSConnector(options(server))
            defer { connector.stop() }
            let connection = try connector.waitUntilConnected(within: .seconds(20))
            let streams = try ensureStreams(
                smallStreams(partitions: partitions), on: JetStream(connection))
            try body(BusFixture(server: server, connector: connector, streams: streams))
        }
    }

    /// Runs `body` with a publisher that accepts.
    func withPublisher(
        configure: (inout PublisherSettings) -> Void = { _ in },
        onLoss: @escaping @Sendable (StreamLoss) -> Void = { _ in },
        _ body: (BlockPublisher) throws -> Void
    ) throws {
        var settings = PublisherSettings(partitioning: streams.partitioning)
        configure(&settings)
        var generator = SystemRandomNumberGenerator()
        let publisher = BlockPublisher(
            connector: connector, producer: .random(using: &generator), settings: settings,
            onLoss: onLoss)
        defer { publisher.stop(within: .seconds(1)) }
        guard eventually({ publisher.isAccepting }) else {
            throw PublishError(.unavailable, "the publisher never accepted")
        }
        try body(publisher)
    }
}

func options(_ server: NATSServer) -> NATSOptions {
    var options = NATSOptions(urls: [server.url], name: "test")
    // Many tests share few cores.
    options.connectTimeout = .seconds(20)
    options.reconnectWait = .milliseconds(20)
    options.reconnectJitter = .milliseconds(20)
    return options
}

func smallStreams(partitions: Int) -> StreamSettings {
    var settings = StreamSettings(partitioning: Partitioning(count: partitions))
    settings.eventsByteCountMax = 256 << 20
    settings.heartbeatsByteCountMax = 16 << 20
    settings.deadLettersByteCountMax = 16 << 20
    settings.diagnosesByteCountMax = 16 << 20
    return settings
}

func event(_ number: UInt64) -> Event {
    Event(
        id: UniqueID(high: 7, low: number), clientID: "probe", target: "https://a.example",
        measuredAtMilliseconds: 1)
}

/// The outcome of one request, waited for.
final class Request: Sendable {
    let receipt: PublishReceipt
    private let outcome: Monitor<PublishReceipt.Outcome?>

    init() {
        let outcome = Monitor<PublishReceipt.Outcome?>(nil)
        self.outcome = outcome
        receipt = PublishReceipt { result in
            outcome.update { $0 = result }
        }
    }

    func wait(within limit: Duration = .seconds(20)) -> PublishReceipt.Outcome? {
        outcome.wait(until: .now + limit) { $0 }
    }

    var hasSucceeded: Bool {
        if case .success = wait() { true } else { false }
    }

    var error: PublishError? {
        if case .failure(let error) = wait() { error } else { nil }
    }
}

extension BlockPublisher {
    /// Publishes one event as a request of its own.
    func publish(_ number: UInt64, partition: Int = 0) -> Request {
        let request = Request()
        try? append(partition: partition, to: request.receipt) { builder in
            builder.append(event(number), receivedAtMilliseconds: 1)
        }
        commit(request.receipt)
        return request
    }
}

/// A block as it is in the stream.
struct StoredBlock {
    let producer: UniqueID
    let number: UInt64
    let events: [UInt64]

    init(_ message: NATSMessage) throws {
        self = try message.withUnsafePayload { bytes in
            let reader = try BlockReader(validating: bytes)
            return StoredBlock(
                producer: reader.producer, number: reader.blockNumber,
                events: (0..<reader.eventCount).map { reader.record($0).eventID.low })
        }
    }

    private init(producer: UniqueID, number: UInt64, events: [UInt64]) {
        self.producer = producer
        self.number = number
        self.events = events
    }
}

extension JetStream {
    /// Every block of a partition, in order.
    func blocks(partition: Int) throws -> [StoredBlock] {
        let stream = try stream(named: BusStream.events)
        guard stream.messageCount > 0 else { return [] }
        return try (stream.firstSequence...stream.lastSequence)
            .map { try message(inStream: BusStream.events, sequence: $0) }
            .filter { $0.subject == BusSubject.events(partition: partition) }
            .map { try StoredBlock($0.message) }
    }
}
