import ProbeCore
import TestKit
import Testing

@Suite struct HTTPResponseReaderTests {
    private func read(
        _ text: String, inPiecesOf size: Int, keep: Int = 1000
    ) throws -> HTTPResponseReader {
        var reader = HTTPResponseReader(keepBytesMax: keep)
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: size) {
            let piece = Array(bytes[start..<min(start + size, bytes.count)])
            try reader.consume(piece.span)
        }
        return reader
    }

    @Test(arguments: 1...40)
    func `an answer reads the same however it is cut`(size: Int) throws {
        let sized = try read(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\nx-a:  2 \r\n\r\nhello",
            inPiecesOf: size)
        #expect(sized.isComplete)
        #expect(sized.head?.value(of: "x-a") == "1, 2")
        #expect(sized.keptBody == Array("hello".utf8))

        let chunked = try read(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "5;name=value\r\nhello\r\nA\r\n, world, x\r\n0\r\nTrailer: 1\r\n\r\n",
            inPiecesOf: size)
        #expect(chunked.isComplete)
        #expect(chunked.head?.status == 201)
        #expect(chunked.keptBody == Array("hello, world, x".utf8))
        #expect(chunked.allowsReuse)
    }

    @Test(arguments: [204, 304])
    func `answers without a body are complete after their head`(status: Int) throws {
        let reader = try read(
            "HTTP/1.1 \(status) Nothing\r\nContent-Length: 10\r\n\r\n", inPiecesOf: 7)
        #expect(reader.isComplete)
        #expect(reader.bodyBytes == 0)
    }

    @Test func `a body without a length ends with the connection`() throws {
        var reader = try read("HTTP/1.1 200 OK\r\n\r\nabc", inPiecesOf: 4)
        #expect(!reader.isComplete)
        try reader.finish()
        #expect(reader.isComplete)
        #expect(reader.bodyBytes == 3)
    }

    @Test func `a connection is used again only when nothing forbids it`() throws {
        let plain = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
        #expect(try read(plain + "\r\n", inPiecesOf: 9).allowsReuse)
        #expect(try !read(plain + "Connection: close\r\n\r\n", inPiecesOf: 9).allowsReuse)
        #expect(try !read(plain + "\r\nextra", inPiecesOf: 9).allowsReuse)
        let old = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"
        #expect(try !read(old, inPiecesOf: 9).allowsReuse)
    }

    @Test func `only as much of the body is kept as was asked for`() throws {
        let reader = try read(
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", inPiecesOf: 3, keep: 4)
        #expect(reader.keptBody == Array("0123".utf8))
        #expect(reader.bodyBytes == 10)
    }

    /// Whatever a server sends, the reader takes it or refuses it, and its memory stays bounded.
    @Test(arguments: 0..<300 as Range<UInt64>)
    func `mutated answers never trap`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let sources = [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\r\nA: b\r\n\r\nbody",
        ]
        var bytes = Array((sources.randomElement(using: &random) ?? "").utf8)
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            switch random.next() % 3 {
            case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes.insert(contentsOf: bytes[place...], at: place)
            default: if bytes.count > 1 { bytes.remove(at: place) }
            }
        }
        var reader = HTTPResponseReader(keepBytesMax: 10)
        var position = 0
        while position < bytes.count {
            let size = Int.random(in: 1...9, using: &random)
            let piece = Array(bytes[position..<min(position + size, bytes.count)])
            guard (try? reader.consume(piece.span)) != nil else { return }
            position += size
        }
        try? reader.finish()
        #expect(reader.keptBody.count <= 10, "seed \(seed)")
    }
}
