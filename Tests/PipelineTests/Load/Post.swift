import Glibc

/// Posts `body` on a connection of its own.
///
/// - Parameter isImpatient: Leaves without reading the answer.
func post(_ body: String, port: Int, token: String, isImpatient: Bool) -> Outcome {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard socket >= 0 else { return .unknown }
    defer { close(socket) }
    var limit = timeval(tv_sec: 15, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let status = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    guard status == 0 else { return .unknown }
    let request =
        "POST /events HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer \(token)\r\n"
        + "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n"
        + "Connection: close\r\n\r\n\(body)"
    var rest = Array(request.utf8)[...]
    while !rest.isEmpty {
        let count = rest.withUnsafeBytes {
            Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard count > 0 else { return .unknown }
        rest = rest.dropFirst(count)
    }
    if isImpatient { return .unknown }
    var received: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    while true {
        let count = recv(socket, &chunk, chunk.count, 0)
        guard count > 0 else { break }
        received += chunk[..<count]
    }
    let answer = String(decoding: received, as: UTF8.self)
    let lines = answer.split(separator: "\r\n")
    guard let code = lines.first?.split(separator: " ").dropFirst().first else { return .unknown }
    switch code {
    case "202":
        let isWhole = answer.contains("\"rejected\":[]") || answer.contains("\"event_id\"")
        return isWhole ? .accepted : .refused(answer)
    case "503": return .unknown
    default: return .refused(answer)
    }
}
