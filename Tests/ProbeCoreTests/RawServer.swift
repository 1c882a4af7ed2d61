import OwnedThreads
import Synchronization
import Transport

/// A server that does to each connection whatever a test wants.
final class RawServer: Sendable {
    private let listener: Listener
    private let interrupt: Interrupt
    private let threads = Mutex<[OwnedThread]>([])

    /// - Parameters:
    ///   - connections: How many are served at once.
    ///   - body: Called with each connection, on as many threads.
    init(
        host: String = "127.0.0.1", connections: Int = 1,
        _ body: @escaping @Sendable (Connection, Patience) throws -> Void
    ) throws {
        listener = try Listener(host: host, port: 0)
        interrupt = try Interrupt()
        let started = (0..<connections).map { _ in
            OwnedThread(name: "raw-server") { [listener, interrupt] in
                while !interrupt.isTriggered {
                    let patience = Patience(for: .seconds(60), interrupt: interrupt)
                    guard let connection = try? listener.accept(patience) else { continue }
                    // A client that breaks off is what many tests are about.
                    try? body(connection, patience)
                }
            }
        }
        threads.withLock { $0 = started }
    }

    deinit {
        interrupt.trigger()
        for thread in threads.withLock({ $0 }) { thread.join() }
    }

    var port: UInt16 { listener.address.port }
    var url: String { "http://127.0.0.1:\(port)/" }
    var secureURL: String { "https://127.0.0.1:\(port)/" }

    /// A server that reads a request's head and answers with these bytes, then closes.
    static func answering(_ bytes: [UInt8]) throws -> RawServer {
        try RawServer { connection, patience in
            _ = try connection.readHead(patience)
            try connection.write(bytes.span, patience)
            connection.finishWriting()
            try connection.drain(patience)
        }
    }

    static func answering(_ text: String) throws -> RawServer {
        try answering(Array(text.utf8))
    }
}

extension Connection {
    /// The bytes up to the empty line, and those that came behind it.
    func readHead(_ patience: Patience) throws -> (head: String, rest: [UInt8]) {
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            if let end = received.firstRange(of: Array("\r\n\r\n".utf8)) {
                let head = String(decoding: received[..<end.lowerBound], as: UTF8.self)
                return (head, Array(received[end.upperBound...]))
            }
            let count = try read(into: &buffer, patience)
            guard count > 0 else { throw TransportError(.endedEarly, "no request") }
            received += buffer.prefix(count)
        }
    }

    /// Reads until the other end closes.
    func drain(_ patience: Patience) throws {
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        while try read(into: &buffer, patience) > 0 {}
    }

    func write(_ text: String, _ patience: Patience) throws {
        let bytes = Array(text.utf8)
        try write(bytes.span, patience)
    }
}
