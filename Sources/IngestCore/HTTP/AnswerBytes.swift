internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import Telemetry

/// Writes answers as HTTP/1.1, with what is the same in all of them rendered before.
final class AnswerBytes {
    /// The status line and the fields that do not depend on the answer, by status; rendered anew each second.
    private var starts: [UInt: [UInt8]] = [:]
    private var second: Int64 = -1
    private var date = ""

    init() {
        renew(at: wallClockMilliseconds())
    }

    /// Sets the Date field.
    ///
    /// - Parameter moment: Unix milliseconds.
    func renew(at moment: Int64) {
        guard moment / 1000 != second else { return }
        second = moment / 1000
        date = Self.date(second)
        starts.removeAll(keepingCapacity: true)
    }

    /// Appends an answer.
    ///
    /// - Parameters:
    ///   - closes: Whether the connection ends behind it.
    ///   - isHTTP10: Whether the client must be told that the connection stays.
    ///   - isHEAD: Whether the body is left out.
    /// - Returns: The body's length, bytes.
    @discardableResult
    func write(
        _ answer: Answer, closes: Bool, isHTTP10: Bool, isHEAD: Bool, to buffer: inout ByteBuffer
    ) -> Int {
        let times = answer.headReadAtMicroseconds.map(Self.times) ?? ""
        let bodyByteCount = answer.body.byteCount + times.utf8.count
        buffer.writeBytes(start(answer.status))
        buffer.writeString(String(bodyByteCount))
        for (name, value) in answer.headers {
            buffer.writeStaticString("\r\n")
            buffer.writeString(name)
            buffer.writeStaticString(": ")
            buffer.writeString(value)
        }
        if closes {
            buffer.writeStaticString("\r\nConnection: close")
        } else if isHTTP10 {
            buffer.writeStaticString("\r\nConnection: keep-alive")
        }
        buffer.writeStaticString("\r\n\r\n")
        guard !isHEAD else { return 0 }
        switch answer.body {
        case .text(let text): buffer.writeString(text)
        case .stored(let id, let receivedAt):
            buffer.writeStaticString(Answer.Body.storedStart)
            buffer.writeString(id.description)
            buffer.writeStaticString(Answer.Body.storedMiddle)
            buffer.writeString(String(receivedAt))
            buffer.writeStaticString(Answer.Body.storedEnd)
        }
        buffer.writeString(times)
        return bodyByteCount
    }

    /// The end of a body by which the client can compare its clock with the server's.
    private static func times(headReadAt moment: Int64) -> String {
        ",\"server_recv_us\":\(moment),\"server_send_us\":\(wallClockMicroseconds())}\n"
    }

    private func start(_ status: HTTPResponseStatus) -> [UInt8] {
        if let start = starts[status.code] { return start }
        let start = Array(
            ("HTTP/1.1 \(status.code) \(status.reasonPhrase)\r\nDate: \(date)\r\n"
                + "Content-Type: application/json\r\nContent-Length: ").utf8)
        starts[status.code] = start
        return start
    }

    /// As RFC 9110, section 5.6.7 has it.
    private static func date(_ second: Int64) -> String {
        var moment = time_t(second)
        var parts = tm()
        gmtime_r(&moment, &parts)
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(days[Int(parts.tm_wday) % 7]), \(two(parts.tm_mday)) "
            + "\(months[Int(parts.tm_mon) % 12]) \(1900 + Int(parts.tm_year)) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
    }
}
