internal import EventParsing
internal import NIOCore
internal import NIOHTTP1
internal import ServiceKit

/// The lines of one event loop on their way to the access log.
///
///     {"time":"2026-01-31T12:00:00.123Z","source":"192.0.2.7","method":"POST","path":"/events","status":202,
///      "request_bytes":366,"response_bytes":101,"duration_ms":1.204,"user_agent":"probe/1.0","caller":"0123456789abcdef",
///      "client":"probe-1","error":"…"}
///
/// (in one line). What is not known is left out. `request_bytes` and `response_bytes` are bodies as sent, `duration_ms`
/// is from the end of the head to the answer, the status of a request whose client did not wait for it is 499, `caller` is a token's id or `cert:` and a certificate's name.
final class AccessLogLane {
    private let log: AccessLog
    private var text = ""
    private var lineCount = 0

    /// Lines are handed over when they are this long, or some time has passed.
    private static let handOverBytes = 64 << 10
    /// Longest path or user agent that is kept, Unicode scalars.
    private static let textMax = 256
    /// As other servers' logs have it: no status of HTTP is for this.
    private static let abandonedStatus: UInt = 499

    init(_ log: AccessLog) {
        self.log = log
    }

    func add(
        _ exchange: Exchange, _ answer: Answer, answerByteCount: Int, from address: SocketAddress?
    ) {
        add(
            exchange, status: answer.status.code, answer.code?.rawValue,
            answerByteCount: answerByteCount, from: address)
    }

    /// A request whose client was gone before the answer; what was whole of it may be stored.
    func addAbandoned(_ exchange: Exchange, from address: SocketAddress?) {
        add(exchange, status: Self.abandonedStatus, nil, answerByteCount: 0, from: address)
    }

    private func add(
        _ exchange: Exchange, status: UInt, _ code: String?, answerByteCount: Int,
        from address: SocketAddress?
    ) {
        let head = exchange.head
        text += "{\"time\":\""
        text += WallClock.Instant(milliseconds: wallClockMilliseconds()).rfc3339
        text += "\""
        add("source", address?.ipAddress)
        add("method", head.uri.isEmpty ? nil : head.method.rawValue)
        add("path", head.uri.isEmpty ? nil : head.uri)
        text += ",\"status\":\(status),\"request_bytes\":\(exchange.receivedByteCount)"
        text += ",\"response_bytes\":\(answerByteCount),\"duration_ms\":"
        let microseconds = (NIODeadline.now() - exchange.beganAt).nanoseconds / 1000
        text += "\(Double(microseconds) / 1000)"
        add("user_agent", head.headers.first(name: "user-agent"))
        add("caller", exchange.caller?.id)
        add("client", exchange.client)
        add("error", code)
        text += "}\n"
        lineCount += 1
        if text.utf8.count >= Self.handOverBytes { flush() }
    }

    func flush() {
        guard lineCount > 0 else { return }
        log.write(Array(text.utf8), lineCount: lineCount)
        text.removeAll(keepingCapacity: true)
        lineCount = 0
    }

    private func add(_ name: StaticString, _ value: String?) {
        guard let value else { return }
        text += ",\"\(name)\":"
        // Not characters: one of them may be as long as its sender likes.
        JSONText.append(String(value.unicodeScalars.prefix(Self.textMax)), to: &text)
    }
}
