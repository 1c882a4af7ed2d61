import ProbeCore
import TestKit
import Testing
import Transport

@Suite struct TargetServerTests {
    /// What the server says to these bytes, to its end.
    private func answer(to request: String) throws -> String {
        let target = try LocalTarget()
        defer { target.stop() }
        let url = try HTTPURL(target.httpURL)
        let address = try #require(url.literalAddress)
        let patience = Patience(for: .seconds(10))
        let connection = try Connection.open(address, patience)
        try connection.write(request, patience)
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = try connection.read(into: &buffer, patience)
            if count == 0 { return String(decoding: received, as: UTF8.self) }
            received += buffer.prefix(count)
        }
    }

    private static let end = "GET /fast HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    @Test(arguments: [
        ("Content-Length: 5\r\n\r\nhello", 5), ("Content-Length: 0\r\n\r\n", 0),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", 15),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n", 0),
        ("Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc", 3),
    ])
    func `an upload is counted, and the connection stays`(body: String, count: Int) throws {
        let text = try answer(to: "POST /up HTTP/1.1\r\nHost: a\r\n\(body)" + Self.end)
        #expect(text.contains("received \(count) bytes\n"), "\(text)")
        #expect(text.hasSuffix("ok\n"), "\(text)")
    }

    @Test func `an upload without a length is refused`() throws {
        let text = try answer(to: "POST /up HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(text.hasPrefix("HTTP/1.1 411 "))
    }

    @Test(arguments: ["x\r\n", "ffffffffffffffffffff\r\n", "\r\n"])
    func `malformed chunks end the connection`(body: String) throws {
        let text = try answer(
            to: "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\(body)" + Self.end)
        #expect(!text.contains("received"))
    }
}
