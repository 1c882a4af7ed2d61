import Glibc
import ServiceKit

/// A blocking HTTP/1.1 client of one request, for loopback.
enum HTTPClient {
    struct Failure: Error {
        var step: String
        var code = errno
    }

    /// Sends the bytes as they are and reads until the server closes.
    static func exchange(_ request: String, with address: NetworkAddress) throws -> String {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { throw Failure(step: "socket") }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = in_port_t(UInt16(address.port).bigEndian)
        inet_pton(AF_INET, address.host, &target.sin_addr)
        let status = withUnsafePointer(to: &target) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { throw Failure(step: "connect") }
        var rest = Array(request.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            // A server may refuse before it has read everything.
            guard count > 0 else { break }
            rest = rest.dropFirst(count)
        }
        var answer: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            guard count > 0 else { break }
            answer += chunk[..<count]
        }
        return String(decoding: answer, as: UTF8.self)
    }

    /// The status line's code and the body of a GET.
    static func get(
        _ path: String, from address: NetworkAddress, method: String = "GET"
    ) throws -> (status: String, body: String) {
        let answer = try exchange(
            "\(method) \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", with: address)
        let parts = answer.split(separator: "\r\n\r\n", maxSplits: 1)
        let status = parts.first?.split(separator: " ").dropFirst().first ?? ""
        return (String(status), parts.count > 1 ? String(parts[1]) : "")
    }
}
