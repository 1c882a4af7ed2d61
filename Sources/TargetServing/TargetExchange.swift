internal import Transport

/// The requests of one connection and their answers.
struct TargetExchange {
    /// The largest head of a request that is read, bytes.
    private static let requestBytesMax = 16 * 1024
    private static let slowMillisecondsMax = 60_000
    /// Far beyond what anybody waits for.
    private static let bodyBytesMax = 1 << 50
    private static let pieceBytes = 64 * 1024

    private let connection: Connection
    private let interrupt: Interrupt
    /// How long the client may take for each piece of a body.
    private let timeout: Duration
    private var received: [UInt8] = []
    private var buffer = [UInt8](repeating: 0, count: pieceBytes)

    init(_ connection: Connection, timeout: Duration, interrupt: Interrupt) {
        self.connection = connection
        self.timeout = timeout
        self.interrupt = interrupt
    }

    /// Reads a request and answers it; false when the connection shall end.
    mutating func next() throws(TransportError) -> Bool {
        let patience = Patience(for: timeout, interrupt: interrupt)
        guard let head = try readHead(patience) else { return false }
        let lines = head.split(separator: "\r\n", omittingEmptySubsequences: true)
        let words = lines.first?.split(separator: " ") ?? []
        let fields = lines.dropFirst().map { $0.lowercased().filter { $0 != " " } }
        let keepsOpen = !fields.contains("connection:close")
        if words.count == 3, words[0] == "POST" {
            return try receive(fields, keepsOpen: keepsOpen)
        }
        guard words.count == 3, words[0] == "GET" else {
            try answer(400, "only GET and POST are served\n", keepsOpen: false, patience)
            return false
        }
        return try answer(String(words[1]), keepsOpen: keepsOpen, patience)
    }

    /// Counts the body of a POST, whatever its path, and answers with the count.
    private mutating func receive(
        _ fields: [String], keepsOpen: Bool
    ) throws(TransportError) -> Bool {
        guard var body = UploadedBody(fields) else {
            try answer(
                411, "give the body's length, or send it chunked\n", keepsOpen: false,
                Patience(for: timeout, interrupt: interrupt))
            return false
        }
        if fields.contains("expect:100-continue") {
            try write(
                "HTTP/1.1 100 Continue\r\n\r\n", Patience(for: timeout, interrupt: interrupt))
        }
        var taken = body.consume(received.span)
        received.removeFirst(taken)
        while !body.isComplete {
            guard !body.isMalformed else { return false }
            let count = try connection.read(
                into: &buffer, Patience(for: timeout, interrupt: interrupt))
            guard count > 0 else { return false }
            taken = body.consume(buffer.span.extracting(0..<count))
            received += buffer[taken..<count]
        }
        try answer(
            200, "received \(body.bytes) bytes\n", keepsOpen: keepsOpen,
            Patience(for: timeout, interrupt: interrupt))
        return keepsOpen
    }

    /// The bytes up to the empty line; nil when the client ended or sends too much.
    private mutating func readHead(_ patience: Patience) throws(TransportError) -> String? {
        let end = Array("\r\n\r\n".utf8)
        while true {
            if let range = received.firstRange(of: end) {
                let head = String(decoding: received[..<range.lowerBound], as: UTF8.self)
                received.removeFirst(range.upperBound)
                return head
            }
            guard received.count <= Self.requestBytesMax else { return nil }
            let count = try connection.read(into: &buffer, patience)
            guard count > 0 else { return nil }
            received += buffer.prefix(count)
        }
    }

    private func answer(
        _ target: String, keepsOpen: Bool, _ patience: Patience
    ) throws(TransportError) -> Bool {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let query = parts.count == 2 ? parts[1] : ""
        let path = parts.first.map(String.init) ?? "/"
        switch path {
        case "/":
            try answer(200, Self.help, keepsOpen: keepsOpen, patience)
        case "/fast":
            try answer(200, "ok\n", keepsOpen: keepsOpen, patience)
        case "/slow":
            let wait = min(Self.slowMillisecondsMax, Self.number("ms", in: query) ?? 1000)
            interrupt.sleep(for: .milliseconds(wait))
            try answer(200, "ok after \(wait) ms\n", keepsOpen: keepsOpen, patience)
        case "/fail":
            let status = Self.number("status", in: query) ?? 500
            let usable = (200...599).contains(status) ? status : 500
            try answer(usable, "as asked\n", keepsOpen: keepsOpen, patience)
        case "/truncate":
            let count = min(Self.bodyBytesMax, Self.number("bytes", in: query) ?? 100)
            try write("HTTP/1.1 200 OK\r\nContent-Length: \(count + 1)\r\n\r\n", patience)
            try writeBody(count)
            return false
        default:
            guard path.hasPrefix("/bytes/"), let count = Self.number(path.dropFirst(7)) else {
                try answer(404, "no such page\n" + Self.help, keepsOpen: keepsOpen, patience)
                return keepsOpen
            }
            let length = min(Self.bodyBytesMax, count)
            try write(
                Self.head(200, length: length, keepsOpen: keepsOpen), patience)
            try writeBody(length)
        }
        return keepsOpen
    }

    private func answer(
        _ status: Int, _ text: String, keepsOpen: Bool, _ patience: Patience
    ) throws(TransportError) {
        // One write, so that the answer's first byte and its last are one segment.
        let hasBody = status != 204 && status != 304
        let head = Self.head(status, length: text.utf8.count, keepsOpen: keepsOpen)
        try write(hasBody ? head + text : head, patience)
    }

    private func writeBody(_ count: Int) throws(TransportError) {
        let piece = [UInt8](repeating: UInt8(ascii: "q"), count: Self.pieceBytes)
        var left = count
        while left > 0 {
            let size = min(left, piece.count)
            try connection.write(
                piece.span.extracting(0..<size), Patience(for: timeout, interrupt: interrupt))
            left -= size
        }
    }

    private func write(_ text: String, _ patience: Patience) throws(TransportError) {
        let bytes = Array(text.utf8)
        try connection.write(bytes.span, patience)
    }

    private static func head(_ status: Int, length: Int, keepsOpen: Bool) -> String {
        "HTTP/1.1 \(status) Answer\r\nContent-Type: text/plain\r\nContent-Length: \(length)\r\n"
            + "Connection: \(keepsOpen ? "keep-alive" : "close")\r\n\r\n"
    }

    private static func number(_ name: String, in query: Substring) -> Int? {
        for pair in query.split(separator: "&") where pair.hasPrefix("\(name)=") {
            return number(pair.dropFirst(name.utf8.count + 1))
        }
        return nil
    }

    /// A number without a sign; nil for anything else.
    private static func number(_ text: Substring) -> Int? {
        guard let number = Int(text), number >= 0 else { return nil }
        return number
    }

    private static let help = """
        A target to measure.
          /fast               a short answer at once
          /slow?ms=N          waits N ms before the answer
          /fail?status=N      answers N, or 500
          /bytes/N            a body of N bytes
          /truncate?bytes=N   ends one byte before the body's promised end
        A POST to any path counts its body's bytes.

        """
}
