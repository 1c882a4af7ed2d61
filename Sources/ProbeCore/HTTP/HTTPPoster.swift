package import Transport

/// Posts to one server, and asks it, over a connection that stays open between posts.
///
/// Used by one thread.
package final class HTTPPoster {
    /// What the server answered.
    package struct Answer: Sendable {
        package let head: HTTPResponseReader.Head
        package let body: [UInt8]
        /// Just before the request was written, on a connection that was open.
        package let asked: BoottimeInstant
        /// Just after the answer had begun to arrive.
        package let answered: BoottimeInstant

        package var status: Int { head.status }
    }

    /// The largest answer that is taken, bytes: a reject for each event of a full batch fits.
    package static let answerBytesMax = 1 << 20
    private static let readBytes = 16 * 1024

    private let dialer: Dialer
    private let userAgent: String
    private let suppression: Suppression?
    private var connection: Connection?
    private var buffer = [UInt8](repeating: 0, count: readBytes)

    /// - Parameter suppression: Learns from every answer whether the fleet is to measure.
    package init(dialer: Dialer, userAgent: String, suppression: Suppression? = nil) {
        self.suppression = suppression
        self.dialer = dialer
        self.userAgent = userAgent
    }

    /// Posts a body and waits for the answer.
    ///
    /// `fields` are lines of the request's head that describe the body.
    ///
    /// A connection that was open before and turns out to be closed is replaced once; the server may then
    /// see the same post twice, which is why events carry identifiers.
    package func post(
        _ body: [UInt8], fields: [String] = ["Content-Type: application/json"], to url: HTTPURL,
        token: String?, _ patience: Patience
    ) throws(HTTPFailure) -> Answer {
        let described = fields + ["Content-Length: \(body.count)"]
        return try send(requestHead("POST", url, described, token) + body, to: url, patience)
    }

    /// Asks for what is at an address and waits for the answer.
    package func get(
        _ url: HTTPURL, token: String?, _ patience: Patience
    ) throws(HTTPFailure) -> Answer {
        try send(requestHead("GET", url, [], token), to: url, patience)
    }

    private func send(
        _ request: [UInt8], to url: HTTPURL, _ patience: Patience
    ) throws(HTTPFailure) -> Answer {
        if let open = connection {
            connection = nil
            if let answer = try exchange(request, over: open, isFresh: false, patience) {
                return answer
            }
        }
        let fresh: Connection
        do throws(TransportError) {
            var progress = Dialer.Progress()
            fresh = try dialer.dial(url, patience, &progress)
        } catch {
            throw .transport(error)
        }
        guard let answer = try exchange(request, over: fresh, isFresh: true, patience) else {
            preconditionFailure("a fresh connection answers or fails")
        }
        return answer
    }

    private func requestHead(
        _ method: String, _ url: HTTPURL, _ fields: [String], _ token: String?
    ) -> [UInt8] {
        var head = "\(method) \(url.requestTarget) HTTP/1.1\r\nHost: \(url.authority)\r\n"
        head += "User-Agent: \(userAgent)\r\n"
        for field in fields { head += "\(field)\r\n" }
        head += "Accept: application/json\r\n"
        if let token { head += "Authorization: Bearer \(token)\r\n" }
        return Array((head + "\r\n").utf8)
    }

    /// One request and its answer; nil when a connection that is not fresh was closed before answering.
    private func exchange(
        _ request: [UInt8], over connection: Connection, isFresh: Bool, _ patience: Patience
    ) throws(HTTPFailure) -> Answer? {
        var reader = HTTPResponseReader(keepBytesMax: Self.answerBytesMax)
        var answered: BoottimeInstant?
        let asked = BoottimeInstant.now()
        do {
            try connection.write(request.span, patience)
            while !reader.isComplete {
                let count = try connection.read(into: &buffer, patience)
                if count == 0 {
                    if answered == nil && !isFresh { return nil }
                    try reader.finish()
                    break
                }
                if answered == nil { answered = .now() }
                try reader.consume(buffer.span.extracting(0..<count))
                guard reader.bodyBytes <= Self.answerBytesMax else {
                    throw HTTPViolation(
                        .bodyTooLarge, "the answer is larger than \(Self.answerBytesMax) bytes")
                }
            }
        } catch let error as TransportError {
            let isStale = error.code == .reset || error.code == .endedEarly
            if isStale && answered == nil && !isFresh { return nil }
            throw .transport(error)
        } catch let error as HTTPViolation {
            throw .violation(error)
        } catch {
            preconditionFailure("only transport errors and violations are thrown above: \(error)")
        }
        guard let head = reader.head, let answered else {
            preconditionFailure("a complete answer has a head")
        }
        if reader.allowsReuse { self.connection = connection }
        suppression?.take(head)
        return Answer(head: head, body: reader.keptBody, asked: asked, answered: answered)
    }
}
