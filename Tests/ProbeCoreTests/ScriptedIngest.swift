import FoundationEssentials
import Gzip
import OwnedThreads
import ProbeCore
import Transport

/// An ingest that answers as a test's script says and keeps what it was sent.
final class ScriptedIngest: Sendable {
    /// What the server does with a request.
    enum Reply: Sendable {
        case answer(Int, fields: [String] = [], body: String = "")
        /// A reset before the answer's end.
        case breakOff
        /// Nothing, until the client gives up.
        case silence

        static let accepted = Reply.answer(202, body: #"{"status":"ok","rejected":[]}"#)
    }

    struct Request: Sendable {
        let path: String
        let token: String?
        /// As it was posted, but for its compression.
        let body: [UInt8]
        let isCompressed: Bool

        /// The events of a post, as far as these tests look at them.
        var events: [PostedEvent] {
            body.split(separator: UInt8(ascii: "\n")).compactMap {
                try? JSONDecoder().decode(PostedEvent.self, from: Data($0))
            }
        }
    }

    struct PostedEvent: Decodable, Sendable, Equatable {
        let event_id: String
        let client_id: String
        let target: String
        let session_id: String
        let seq: UInt64
        let error_stage: String?
        let timing_measurements: [String: Double]
    }

    private static let threadCount = 4
    private let listener: Listener
    private let interrupt: Interrupt
    private let threads = Monitor<[OwnedThread]>([])
    private let received = Monitor<[Request]>([])
    private let script: @Sendable (Request, Int) -> Reply

    /// - Parameter script: Called with each request and how many of its path came before.
    init(_ script: @escaping @Sendable (Request, Int) -> Reply) throws {
        listener = try Listener(host: "127.0.0.1", port: 0)
        interrupt = try Interrupt()
        self.script = script
        let serve: @Sendable () -> Void = { [listener, interrupt, received] in
            let forever = Patience(until: MonotonicInstant(nanoseconds: .max), interrupt: interrupt)
            while !interrupt.isTriggered {
                guard let connection = try? listener.accept(forever) else { continue }
                try? Self.serve(connection, forever, received, script)
            }
        }
        let started = (0..<Self.threadCount).map { OwnedThread(name: "ingest-\($0)", serve) }
        threads.update { $0 = started }
    }

    deinit {
        stop()
    }

    func stop() {
        interrupt.trigger()
        let ended = threads.update { threads in
            defer { threads = [] }
            return threads
        }
        for thread in ended { thread.join() }
    }

    /// As an operator writes it.
    var address: String { "http://\(listener.address)" }

    var url: HTTPURL {
        get throws { try HTTPURL(address) }
    }

    /// The answer to a whole batch that is refused, as ingest gives it.
    static func refusal(_ status: Int, code: String, rejected: String = "") -> Reply {
        .answer(
            status,
            body: #"{"status":"error","error":{"code":"\#(code)","message":"no"},"accepted":0,"#
                + #""rejected":[\#(rejected)]}"#)
    }

    /// What came to a path so far.
    func requests(to path: String = "/api/v1/events") -> [Request] {
        received.withLock { $0.filter { $0.path == path } }
    }

    private static func serve(
        _ connection: Connection, _ patience: Patience, _ received: Monitor<[Request]>,
        _ script: (Request, Int) -> Reply
    ) throws {
        while true {
            let request = try readRequest(connection, patience)
            let earlier = received.update { received in
                received.append(request)
                return received.count { $0.path == request.path } - 1
            }
            switch script(request, earlier) {
            case .answer(let status, let fields, let body):
                let lines = ["HTTP/1.1 \(status) Scripted", "Content-Length: \(body.utf8.count)"]
                let head = (lines + fields).joined(separator: "\r\n")
                try connection.write(head + "\r\n\r\n" + body, patience)
            case .breakOff:
                try connection.write("HTTP/1.1 202 Acc", patience)
                connection.abortOnClose()
                return
            case .silence:
                try connection.drain(patience)
                return
            }
        }
    }

    private static func readRequest(
        _ connection: Connection, _ patience: Patience
    ) throws -> Request {
        var (head, body) = try connection.readHead(patience)
        let lines = head.split(separator: "\r\n")
        func field(_ name: String) -> String? {
            let line = lines.first { $0.lowercased().hasPrefix(name + ": ") }
            return line.map { String($0.dropFirst(name.utf8.count + 2)) }
        }
        let length = field("content-length").flatMap { Int($0) } ?? 0
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while body.count < length {
            let count = try connection.read(into: &buffer, patience)
            guard count > 0 else { throw TransportError(.endedEarly, "no body") }
            body += buffer.prefix(count)
        }
        let path = lines.first?.split(separator: " ").dropFirst().first ?? ""
        let isCompressed = field("content-encoding") == "gzip"
        return Request(
            path: String(path), token: field("authorization"),
            body: isCompressed ? try inflated(body) : body, isCompressed: isCompressed)
    }

    private static func inflated(_ body: [UInt8]) throws -> [UInt8] {
        var output: [UInt8] = []
        let inflater = GzipInflater(outputByteCountMax: 4 << 20)
        try body.withUnsafeBytes { bytes in
            try inflater.inflate(bytes) { output.append(contentsOf: $0) }
        }
        try inflater.finish()
        return output
    }
}
