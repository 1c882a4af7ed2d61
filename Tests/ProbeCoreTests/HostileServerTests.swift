import ProbeCore
import Telemetry
import Testing
import Transport

/// Whatever a server sends, a measurement ends and nothing traps.
@Suite struct HostileServerTests {
    private struct Randomness: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    private static let pieces = [
        "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.0 404 No\r\n", "\r\n",
        "\r\n\r\n",
        "Content-Length: 5\r\n", "Content-Length: 9223372036854775807\r\n", "Connection: close\r\n",
        "Transfer-Encoding: chunked\r\n", "7fffffffffffffff\r\n", "5\r\nhello\r\n", "0\r\n\r\n",
        "hello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Content-Encoding: \u{1B}[31m\r\n", String(repeating: "x", count: 70_000),
    ]

    @Test(arguments: ["", "download+", "upload+", "loaded+"])
    func `any answer ends a measurement`(kind: String) throws {
        let seed = UInt64.random(in: 0...(.max))
        print("hostile server seed \(seed) \(kind)")
        for round in 0..<25 {
            let server = try RawServer(connections: 6) { connection, patience in
                var random = Randomness(state: seed &+ UInt64(round))
                if Bool.random(using: &random) { _ = try connection.readHead(patience) }
                for _ in 0..<Int.random(in: 0...6, using: &random) {
                    var piece = Array((Self.pieces.randomElement(using: &random) ?? "").utf8)
                    if !piece.isEmpty, Int.random(in: 0..<4, using: &random) == 0 {
                        let place = Int.random(in: 0..<piece.count, using: &random)
                        piece[place] = UInt8.random(in: 0...255, using: &random)
                    }
                    try connection.write(piece.span, patience)
                }
                switch Int.random(in: 0..<3, using: &random) {
                case 0: connection.abortOnClose()
                case 1:
                    connection.finishWriting()
                    try connection.drain(patience)
                default: try connection.drain(patience)
                }
            }
            let options = kind.isEmpty ? "expect-body=hello" : "max-time=100ms connections=2"
            let found = try measure(
                "\(kind)\(server.url) \(options)", timeout: .milliseconds(250))
            if found.failure != nil, !kind.isEmpty {
                #expect(found.metrics[.throughput] == nil, "round \(round)")
                #expect(found.metrics[.loadedRTT] == nil, "round \(round)")
            }
        }
    }
}
