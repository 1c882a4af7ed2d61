import ServiceKit
import Transport

/// One GET to a program's metrics port, without TLS, as that port has none.
struct HealthQuestion {
    /// Container engines give up after seconds, too; ours says why.
    private static let limit = Duration.seconds(2)
    /// An answer is a line of JSON; more is not from one of our programs.
    private static let answerByteMax = 64 << 10

    let path: String
    let server: NetworkAddress

    init(path: String, of server: NetworkAddress) {
        self.path = path
        self.server = server
    }

    /// - Throws: ``TransportError``, or ``CommandFailure`` when the answer is not HTTP.
    func ask() throws -> (status: Int, body: String) {
        let patience = Patience(for: Self.limit)
        let connection = try connect(patience)
        let request = "GET \(path) HTTP/1.1\r\nHost: \(server)\r\nConnection: close\r\n\r\n"
        try connection.write(Array(request.utf8).span, patience)
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while answer.count < Self.answerByteMax {
            let count = try connection.read(into: &buffer, patience)
            if count == 0 { break }
            answer += buffer.prefix(count)
        }
        let text = String(decoding: answer, as: UTF8.self)
        let words = text.prefix { !$0.isNewline }.split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            throw CommandFailure("what answers at \(server) does not speak HTTP")
        }
        // Swift takes CR and LF together as one character.
        let body = text.split(
            separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
        return (status, body.count > 1 ? String(body[1]) : "")
    }

    /// A program that listens on every address is asked on loopback.
    private func connect(_ patience: Patience) throws -> Connection {
        let host =
            switch server.host {
            case "0.0.0.0": "127.0.0.1"
            case "::": "::1"
            case let other: other
            }
        guard let port = UInt16(exactly: server.port) else {
            throw CommandFailure("\(server.port) is not a port")
        }
        if let address = SocketAddress(literal: host, port: port) {
            return try Connection.open(address, patience)
        }
        var addresses = try Resolver(threadsMax: 1).addresses(of: host, port: port, patience)
            .addresses
        // A name such as localhost may have an address of each family, and the program listens on one.
        let last = addresses.removeLast()
        for address in addresses {
            if let connection = try? Connection.open(address, patience) { return connection }
        }
        return try Connection.open(last, patience)
    }
}
