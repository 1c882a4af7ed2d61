import Glibc
import TestKit

/// A load of our own, for what wrk cannot: requests at times that do not depend on the answers, and bodies that
/// change from request to request.
///
/// One thread, keep-alive, one request at a time per connection. In an open loop requests are due at random
/// (exponential) intervals, wait for a free connection when all are busy, and their latency counts from
/// when they were due, so that a server that stalls is not spared the requests that it kept from being sent.
struct SocketLoad {
    let port: Int
    let connectionCount: Int
    let seconds: Double
    /// Requests per second; nil sends as fast as the answers come.
    var rate: Double?
    /// Whether every request has events of its own; a connection then posts for its own probes.
    var renumbers = false

    private struct Connection {
        let descriptor: Int32
        /// The probe whose request is under way.
        var probe: Int
        var isBusy = false
        var sentCount = 0
        var due = 0.0
        var answer: [UInt8] = []
    }

    func run(_ requests: inout PostedRequests) throws -> LoadResult {
        var connections = try (0..<connectionCount).map {
            Connection(descriptor: try connect(), probe: $0 % PostedRequests.probeCount)
        }
        defer { for connection in connections { close(connection.descriptor) } }
        var polled = connections.map { pollfd(fd: $0.descriptor, events: 0, revents: 0) }
        var random = SeededGenerator(seed: 5)
        var latencies: [Double] = []
        var result = LoadResult()
        var waiting: [Double] = []
        var waitingStart = 0
        let start = now()
        let end = start + seconds
        var nextDue = start
        var busyCount = 0

        while true {
            let time = now()
            if let rate {
                while nextDue <= time, nextDue < end {
                    waiting.append(nextDue)
                    let uniform = Double(random.next() >> 11) / Double(UInt64(1) << 53)
                    nextDue -= log(1 - uniform) / rate
                }
            }
            for index in connections.indices where !connections[index].isBusy {
                if rate != nil {
                    guard waitingStart < waiting.count else { break }
                    connections[index].due = waiting[waitingStart]
                    waitingStart += 1
                } else {
                    guard time < end else { break }
                    connections[index].due = time
                }
                begin(&connections[index], &requests)
                busyCount += 1
                try send(&connections[index], requests)
            }
            let isOver = time >= end && busyCount == 0 && waitingStart == waiting.count
            guard !isOver else { break }
            guard time < end + 10 else {
                throw StoredStream.Failure(description: "\(busyCount) requests have no answer")
            }
            for (index, connection) in connections.enumerated() {
                let isSending =
                    connection.isBusy
                    && connection.sentCount < requests.requests[connection.probe].count
                polled[index].events = Int16(isSending ? POLLOUT : POLLIN)
            }
            guard awaitSocket(&polled, until: rate == nil ? .infinity : nextDue) > 0 else {
                continue
            }
            for index in connections.indices where polled[index].revents != 0 {
                if connections[index].isBusy, polled[index].events == Int16(POLLOUT) {
                    try send(&connections[index], requests)
                } else if let isGood = try receive(&connections[index]) {
                    busyCount -= 1
                    connections[index].isBusy = false
                    latencies.append(now() - connections[index].due)
                    result.requestCount += 1
                    if !isGood { result.failureCount += 1 }
                }
            }
        }
        result.seconds = now() - start
        latencies.sort()
        func percentile(_ share: Double) -> Double {
            guard !latencies.isEmpty else { return 0 }
            return latencies[min(latencies.count - 1, Int(Double(latencies.count) * share))] * 1000
        }
        result.p50Milliseconds = percentile(0.5)
        result.p99Milliseconds = percentile(0.99)
        result.p999Milliseconds = percentile(0.999)
        return result
    }

    /// Waits for a socket, a few milliseconds at most, and not beyond the next request's time.
    private func awaitSocket(_ polled: inout [pollfd], until nextDue: Double) -> Int32 {
        let rest = nextDue - now()
        let longestMilliseconds: Int32 = 5
        if rest > Double(longestMilliseconds) / 1000 {
            return poll(&polled, nfds_t(polled.count), longestMilliseconds)
        }
        // poll(2) counts in milliseconds, which is too coarse for thousands of requests per second.
        let ready = poll(&polled, nfds_t(polled.count), 0)
        if ready == 0, rest > 0 { usleep(UInt32(min(rest * 1e6, 50))) }
        return ready
    }

    private func begin(_ connection: inout Connection, _ requests: inout PostedRequests) {
        connection.isBusy = true
        connection.sentCount = 0
        connection.answer.removeAll(keepingCapacity: true)
        let next = connection.probe + connectionCount
        connection.probe =
            next < PostedRequests.probeCount ? next : next % max(1, connectionCount)
        connection.probe %= PostedRequests.probeCount
        if renumbers { requests.renumber(connection.probe) }
    }

    private func send(_ connection: inout Connection, _ requests: PostedRequests) throws {
        let count = requests.requests[connection.probe].withUnsafeBytes { bytes in
            Glibc.send(
                connection.descriptor, bytes.baseAddress?.advanced(by: connection.sentCount),
                bytes.count - connection.sentCount, Int32(MSG_NOSIGNAL))
        }
        if count > 0 {
            connection.sentCount += count
        } else if errno != EAGAIN {
            throw StoredStream.Failure(description: "the server closed a connection")
        }
    }

    /// - Returns: Whether the whole answer is good; nil while some of it is missing.
    private func receive(_ connection: inout Connection) throws -> Bool? {
        let received: [UInt8]? = withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 1) {
            let count = recv(connection.descriptor, $0.baseAddress, $0.count, 0)
            return count > 0 ? Array($0[..<count]) : nil
        }
        guard let received else {
            if errno == EAGAIN { return nil }
            throw StoredStream.Failure(description: "the server closed a connection")
        }
        connection.answer += received
        let text = String(decoding: connection.answer, as: UTF8.self)
        guard let headEnd = text.firstRange(of: "\r\n\r\n") else { return nil }
        var bodyCount = 0
        for line in text[..<headEnd.lowerBound].split(separator: "\r\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2, parts[0].lowercased() == "content-length" {
                bodyCount = Int(parts[1].drop { $0 == " " }) ?? 0
            }
        }
        guard text[headEnd.upperBound...].utf8.count >= bodyCount else { return nil }
        return text.hasPrefix("HTTP/1.1 2")
    }

    private func connect() throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0, Self.connect(descriptor, port: port) else {
            throw StoredStream.Failure(description: "nobody listens on port \(port)")
        }
        var isOn: Int32 = 1
        setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &isOn, socklen_t(MemoryLayout<Int32>.size))
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        return descriptor
    }

    /// Connects a socket to 127.0.0.1:`port`.
    static func connect(_ descriptor: Int32, port: Int) -> Bool {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                Glibc.connect(descriptor, address, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    /// Monotonic seconds.
    private func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
