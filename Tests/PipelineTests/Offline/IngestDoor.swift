import OwnedThreads
import Synchronization
import TestKit
import Transport

/// What stands between a probe and `ingest` and understands requests: it hands each on, or does to it what a bad
/// network or a loaded server would.
final class IngestDoor: Sendable {
    /// What becomes of requests from now on; those under way keep their fate.
    enum Mood: Sendable {
        case open
        /// By chance one of the fates below, for this share of the posts of events, and for a part of that share of
        /// all other requests: a probe posts nothing before it knows the time.
        case unreliable(percent: Int)
        /// Nothing reaches ingest; each connection ends by a reset, before or behind the request.
        case resetting
        /// Nothing reaches ingest; connections and requests are taken, and never answered.
        case halfOpen
        /// Nothing reaches ingest; a proxy on the way says 503, or 429 with Retry-After.
        case refusing
    }

    /// What becomes of one request.
    enum Fate: String, Sendable, CaseIterable {
        case forwarded
        /// 429 with Retry-After, not handed on.
        case throttled = "429"
        case unavailable = "503"
        /// Reset without being handed on.
        case reset
        /// Handed on, and reset before the answer's first byte, or in the middle of it.
        case cutBehind = "answers cut off"
        /// Not handed on and not answered.
        case halfOpen = "half-open"
        /// Handed on and not answered.
        case halfOpenBehind = "half-open behind a stored post"

        static let troubles: [Fate] = allCases.filter { $0 != .forwarded }
    }

    private struct State {
        var mood: Mood
        var random: SeededGenerator
        var counts: [Fate: Int] = [:]
        var postCounts: [Fate: Int] = [:]
        var ingestPort = 0
    }

    /// More than a probe's two posters and the connections that its forerunners left.
    private static let threadCount = 16
    private static let otherRequestsShare = 4
    /// How long `ingest` may take to answer what is handed on.
    private static let ingestTimeout = Duration.seconds(30)

    private let listener: Listener
    private let interrupt: Interrupt
    private let state: Mutex<State>
    private let threads = Monitor<[OwnedThread]>([])

    init(_ mood: Mood, seed: UInt64) throws {
        listener = try Listener(host: "127.0.0.1", port: 0)
        interrupt = try Interrupt()
        state = Mutex(State(mood: mood, random: SeededGenerator(seed: seed)))
        let started = (0..<Self.threadCount).map { index in
            OwnedThread(name: "door-\(index)") { [self] in acceptUntilStopped() }
        }
        threads.update { $0 = started }
    }

    var url: String { "http://\(listener.address)" }

    /// What became of requests so far.
    var counts: [Fate: Int] { state.withLock { $0.counts } }
    /// What became of posts of events so far.
    var postCounts: [Fate: Int] { state.withLock { $0.postCounts } }

    func set(_ mood: Mood) { state.withLock { $0.mood = mood } }

    /// Says where `ingest` listens now.
    func lead(to port: Int) { state.withLock { $0.ingestPort = port } }

    func stop() {
        interrupt.trigger()
        let ended = threads.update { threads in
            defer { threads = [] }
            return threads
        }
        for thread in ended { thread.join() }
    }

    private func acceptUntilStopped() {
        let forever = Patience(until: MonotonicInstant(nanoseconds: .max), interrupt: interrupt)
        while !interrupt.isTriggered {
            guard let connection = try? listener.accept(forever) else { continue }
            // A killed probe breaks off, as does a killed ingest.
            if (try? serve(connection, forever)) == nil { connection.abortOnClose() }
        }
    }

    private func serve(_ client: Connection, _ patience: Patience) throws {
        var reader = MessageReader(client)
        while let request = try reader.next(patience) {
            let fate = nextFate(isPost: request.starts(with: Array("POST /api/v1/events".utf8)))
            switch fate {
            case .forwarded:
                try write(try forward(request), to: client, patience)
            case .throttled:
                try answer(429, "Retry-After: 1\r\n", to: client, patience)
            case .unavailable:
                try answer(503, "", to: client, patience)
            case .reset:
                return client.abortOnClose()
            case .cutBehind:
                let whole = try forward(request)
                if chance(50) { try write(Array(whole.prefix(17)), to: client, patience) }
                return client.abortOnClose()
            case .halfOpen, .halfOpenBehind:
                if fate == .halfOpenBehind { _ = try forward(request) }
                while try reader.skip(patience) {}
                return
            }
        }
    }

    private func chance(_ percent: Int) -> Bool { state.withLock { $0.random.chance(percent) } }

    private func nextFate(isPost: Bool) -> Fate {
        state.withLock { state in
            let fate: Fate
            switch state.mood {
            case .open: fate = .forwarded
            case .unreliable(let percent):
                fate =
                    state.random.chance(isPost ? percent : percent / Self.otherRequestsShare)
                    ? Fate.troubles.randomElement(using: &state.random) ?? .reset : .forwarded
            case .resetting: fate = .reset
            case .halfOpen: fate = .halfOpen
            case .refusing: fate = state.random.chance(50) ? .throttled : .unavailable
            }
            state.counts[fate, default: 0] += 1
            if isPost { state.postCounts[fate, default: 0] += 1 }
            return fate
        }
    }

    private func answer(
        _ status: Int, _ fields: String, to client: Connection, _ patience: Patience
    ) throws {
        let head = "HTTP/1.1 \(status) Door\r\n\(fields)Content-Length: 0\r\n\r\n"
        try write(Array(head.utf8), to: client, patience)
    }

    private func write(_ bytes: [UInt8], to client: Connection, _ patience: Patience) throws {
        try client.write(bytes.span, patience)
    }

    /// Hands a request on; gives the whole answer.
    private func forward(_ request: [UInt8]) throws -> [UInt8] {
        let port = state.withLock { UInt16(truncatingIfNeeded: $0.ingestPort) }
        guard let address = SocketAddress(literal: "127.0.0.1", port: port) else { return [] }
        let patience = Patience(for: Self.ingestTimeout, interrupt: interrupt)
        let server = try Connection.open(address, patience)
        try server.write(request.span, patience)
        var reader = MessageReader(server)
        guard let answer = try reader.next(patience) else {
            throw TransportError(.endedEarly, "ingest ended without an answer")
        }
        return answer
    }
}

/// Takes whole messages of HTTP/1.1 with a `Content-Length`, or without a body, off a connection.
private struct MessageReader {
    private let connection: Connection
    private var received: [UInt8] = []
    private var buffer = [UInt8](repeating: 0, count: 64 << 10)

    init(_ connection: Connection) {
        self.connection = connection
    }

    /// The next message's bytes; nil at the end.
    mutating func next(_ patience: Patience) throws -> [UInt8]? {
        while true {
            if let end = received.firstRange(of: Array("\r\n\r\n".utf8)) {
                let head = String(decoding: received[..<end.lowerBound], as: UTF8.self)
                let length = head.lowercased().split(separator: "\r\n").first {
                    $0.hasPrefix("content-length:")
                }.flatMap { Int($0.dropFirst(15).drop { $0 == " " }) }
                let byteCount = end.upperBound + (length ?? 0)
                while received.count < byteCount {
                    guard try more(patience) else { return nil }
                }
                defer { received.removeFirst(byteCount) }
                return Array(received[..<byteCount])
            }
            guard try more(patience) else { return nil }
        }
    }

    /// Reads and forgets; false at the end.
    mutating func skip(_ patience: Patience) throws -> Bool {
        received = []
        return try more(patience)
    }

    private mutating func more(_ patience: Patience) throws -> Bool {
        let count = try connection.read(into: &buffer, patience)
        received += buffer.prefix(count)
        return count > 0
    }
}
