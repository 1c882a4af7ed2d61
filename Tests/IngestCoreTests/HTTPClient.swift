import Glibc
import Testing
import Transport

/// A connection of a test, in the clear or over TLS, on which it sends whatever bytes it likes and reads answers.
///
/// In the clear one thread may send while another reads: they share nothing but the socket.
final class HTTPClient: @unchecked Sendable {
    struct Response: Equatable {
        var status: Int
        /// Names in lower case.
        var headers: [String: String]
        var body: String
    }

    struct Problem: Error, CustomStringConvertible {
        let description: String
    }

    private enum Stream {
        case clear(socket: Int32)
        case secured(Connection)
    }

    private let stream: Stream
    private var received: [UInt8] = []

    /// How long an answer may take before the test fails.
    private static let limitSeconds = 30

    /// - Parameters:
    ///   - source: The address to come from; any of the loopback unless given.
    ///   - receiveBytesMax: What the kernel may hold of answers that nobody reads.
    init(port: Int, from source: String? = nil, receiveBytesMax: Int32? = nil) throws {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        stream = .clear(socket: socket)
        var limit = timeval(tv_sec: Self.limitSeconds, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        if var receiveBytesMax {
            let byteCount = socklen_t(MemoryLayout<Int32>.size)
            setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &receiveBytesMax, byteCount)
        }
        if let source { _ = Self.withAddress(source, 0) { bind(socket, $0, $1) } }
        let status = Self.withAddress("127.0.0.1", port) { connect(socket, $0, $1) }
        guard status == 0 else { throw Problem(description: "cannot connect: error \(errno)") }
    }

    /// Connects and handshakes.
    init(port: Int, trusting context: TLSContext) throws {
        let host = "127.0.0.1"
        guard let address = SocketAddress(literal: host, port: UInt16(port)) else {
            throw Problem(description: "no address \(host)")
        }
        let connection = try Connection.open(address, Self.patience)
        try connection.startTLS(context, serverName: host, Self.patience)
        stream = .secured(connection)
    }

    deinit {
        if case .clear(let socket) = stream { close(socket) }
    }

    private static var patience: Patience { Patience(for: .seconds(limitSeconds)) }

    private static func withAddress(
        _ host: String, _ port: Int, _ action: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = inet_addr(host)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                action($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    /// Has the connection reset, not ended, when this is gone.
    func resetsAtEnd() {
        guard case .clear(let socket) = stream else {
            if case .secured(let connection) = stream { connection.abortOnClose() }
            return
        }
        var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
        setsockopt(
            socket, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
    }

    /// Sends what the kernel takes at once; over TLS what was not taken must come next.
    ///
    /// - Returns: How much that was.
    func sendWithoutWaiting(_ bytes: [UInt8]) -> Int {
        guard case .clear(let socket) = stream else {
            guard case .secured(let connection) = stream,
                case .bytes(let count)? = try? connection.writeAvailable(bytes.span)
            else { return 0 }
            return count
        }
        return max(
            0, Glibc.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)))
    }

    /// The answers until the server closes.
    func responsesUntilClose() throws -> [Response] {
        var responses: [Response] = []
        while try hasMore() { responses.append(try response()) }
        return responses
    }

    private func hasMore() throws -> Bool {
        if !received.isEmpty { return true }
        return try receive()
    }

    func send(_ text: String) throws {
        try send(Array(text.utf8))
    }

    /// - Throws: Also when the server has closed meanwhile.
    func send(_ bytes: [UInt8]) throws {
        try send(bytes, Self.patience)
    }

    private func send(_ bytes: [UInt8], _ patience: Patience) throws {
        guard case .clear(let socket) = stream else {
            if case .secured(let connection) = stream {
                try connection.write(bytes.span, patience)
            }
            return
        }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Problem(description: "cannot send: error \(errno)") }
            rest = rest.dropFirst(count)
        }
    }

    /// Says that nothing more will be sent.
    func shutdownOutput() {
        switch stream {
        case .clear(let socket): shutdown(socket, Int32(SHUT_WR))
        case .secured(let connection): connection.finishWriting()
        }
    }

    /// Reads one answer; interim answers count as answers.
    func response(toHead: Bool = false) throws -> Response {
        let separator = Array("\r\n\r\n".utf8)
        var end = find(separator)
        while end == nil {
            guard try receive() else { throw Problem(description: "closed before an answer") }
            end = find(separator)
        }
        let headEnd = end ?? 0
        let lines = String(decoding: received[..<headEnd], as: UTF8.self).split(separator: "\r\n")
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " })
        }
        let length = toHead ? 0 : Int(headers["content-length"] ?? "0") ?? 0
        let bodyStart = headEnd + separator.count
        while received.count < bodyStart + length {
            guard try receive() else { throw Problem(description: "closed within an answer") }
        }
        let body = String(decoding: received[bodyStart..<bodyStart + length], as: UTF8.self)
        received.removeFirst(bodyStart + length)
        let status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        return Response(status: status ?? 0, headers: headers, body: body)
    }

    /// Whether the server closes without another byte.
    func isClosedByServer() throws -> Bool {
        guard received.isEmpty else { return false }
        return try !receive()
    }

    private func receive() throws -> Bool {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let count: Int
        switch stream {
        case .clear(let socket):
            count = recv(socket, &chunk, chunk.count, 0)
            guard count >= 0 else { throw Problem(description: "cannot receive: error \(errno)") }
        case .secured(let connection):
            // Throws as well when the server ends the connection without ending TLS.
            count = try connection.read(into: &chunk, Self.patience)
        }
        received += chunk[..<count]
        return count > 0
    }

    private func find(_ pattern: [UInt8]) -> Int? {
        guard received.count >= pattern.count else { return nil }
        return (0...(received.count - pattern.count)).first {
            received[$0..<$0 + pattern.count].elementsEqual(pattern)
        }
    }
}
