internal import Glibc

/// What the thread of a ``TCPProxy`` does: waits for sockets, and moves bytes between pairs of them.
struct ProxyLoop {
    private let listener: Int32
    private let waker: Int32
    private var links: [ProxyLink] = []
    private(set) var counts = ProxyOrders.Counts()
    private var commitRepliesToLose = 0

    init(listener: Int32, waker: Int32) {
        self.listener = listener
        self.waker = waker
    }

    /// Obeys, waits for something to happen, and moves bytes.
    ///
    /// - Returns: False when the proxy was stopped; nothing may be called any more.
    mutating func turn(_ orders: ProxyOrders) -> Bool {
        if orders.cuts || orders.stops {
            for link in links { link.reset() }
            links = []
        }
        if orders.stops {
            close(listener)
            close(waker)
            counts.open = 0
            return false
        }
        if orders.halfOpens { for link in links { link.isHalfOpen = true } }
        commitRepliesToLose += orders.commitRepliesToLose

        var polled = [
            pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
            pollfd(fd: waker, events: Int16(POLLIN), revents: 0),
        ]
        for link in links { polled += link.interests }
        // Short, because delayed bytes and lost answers have deadlines.
        let longestWaitMilliseconds: Int32 = links.contains { $0.hasDeadline } ? 2 : 1000
        poll(&polled, nfds_t(polled.count), longestWaitMilliseconds)
        var wakings = [UInt8](repeating: 0, count: 64)
        while read(waker, &wakings, wakings.count) == wakings.count {}

        for link in links {
            if commitRepliesToLose > 0, link.move(orders.behaviour, losesCommitReply: true) {
                commitRepliesToLose -= 1
            } else {
                _ = link.move(orders.behaviour, losesCommitReply: false)
            }
            if link.hasLostCommitReply { counts.lostCommitReplies += 1 }
        }
        links.removeAll { $0.isClosed }
        accept(orders.target)
        counts.open = links.count
        return true
    }

    private mutating func accept(_ target: Int) {
        while true {
            let client = Glibc.accept(listener, nil, nil)
            guard client >= 0 else { return }
            let server = socket(
                AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = loopback(target)
            let status = withUnsafePointer(to: &address) { address in
                address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            let link = ProxyLink(client: client, server: server)
            if status == 0 {
                links.append(link)
            } else {
                link.reset()
            }
        }
    }
}

/// One client's connection and the one to the server that belongs to it.
final class ProxyLink {
    /// Bytes of one direction that have not been handed on.
    private struct Flow {
        var pending: [(due: ContinuousClock.Instant, bytes: ArraySlice<UInt8>)] = []
        var byteCount = 0
        /// The sender has closed its side; told to the receiver behind the last byte.
        var hasEnded = false
        var hasToldEnd = false
        /// The end of what was seen, in which a pattern may have begun.
        var tail: [UInt8] = []

        mutating func sees(_ pattern: [UInt8], in bytes: ArraySlice<UInt8>) -> Bool {
            let text = tail + bytes
            tail = Array(text.suffix(pattern.count - 1))
            guard text.count >= pattern.count else { return false }
            return (0...text.count - pattern.count).contains {
                text[$0] == pattern[0] && text[$0..<$0 + pattern.count].elementsEqual(pattern)
            }
        }
    }

    private let client: Int32
    private let server: Int32
    private var toServer = Flow()
    private var toClient = Flow()
    /// While the answer to a COMMIT is awaited in order to be lost.
    private var losesReplyUntil: ContinuousClock.Instant?
    var isHalfOpen = false
    /// Until when the side of a half-open link that has not given up learns nothing.
    private var heldUntil: ContinuousClock.Instant?
    private(set) var isClosed = false
    /// True in the turn in which it happened.
    private(set) var hasLostCommitReply = false

    /// More than this in one direction is not read before it has been handed on.
    private static let pendingByteCountMax = 1 << 20
    /// How long the server may take to answer a COMMIT whose answer is to be lost.
    private static let replyLimit = Duration.seconds(2)
    /// How long one side of a half-open link goes on after the other has given up.
    private static let deafTime = Duration.seconds(10)
    /// An unnamed portal bound to the statement `commit` (manual, "Message Formats": Bind).
    private static let commitRequest = Array("\0commit\0".utf8)
    /// The tag of a CommandComplete.
    private static let commitReply = Array("COMMIT\0".utf8)

    init(client: Int32, server: Int32) {
        self.client = client
        self.server = server
        for socket in [client, server] {
            var on: Int32 = 1
            setsockopt(
                socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
            _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK)
        }
    }

    /// Closes both sides so that the kernel sends a reset.
    func reset() {
        var hard = linger(l_onoff: 1, l_linger: 0)
        for socket in [client, server] {
            setsockopt(
                socket, SOL_SOCKET, SO_LINGER, &hard, socklen_t(MemoryLayout<linger>.size))
            close(socket)
        }
        isClosed = true
    }

    /// Whether it must be looked at without anything happening on its sockets.
    var hasDeadline: Bool {
        losesReplyUntil != nil || isHalfOpen || !toServer.pending.isEmpty
            || !toClient.pending.isEmpty
    }

    /// The sockets that bytes are wanted from; a negative one is not looked at.
    var interests: [pollfd] {
        [(client, toServer), (server, toClient)].map { socket, flow in
            let isWanted = !flow.hasEnded && flow.byteCount < Self.pendingByteCountMax
            return pollfd(fd: isWanted ? socket : -1, events: Int16(POLLIN), revents: 0)
        }
    }

    /// Reads what there is and writes what is due.
    ///
    /// - Parameter losesCommitReply: Whether the answer to a COMMIT seen now is to be lost.
    /// - Returns: Whether one was seen.
    func move(_ behaviour: TCPProxy.Behaviour, losesCommitReply: Bool) -> Bool {
        let now = ContinuousClock.now
        var hasSeenCommit = false
        take(from: client, into: &toServer, now, behaviour) { bytes, flow in
            if losesCommitReply, losesReplyUntil == nil,
                flow.sees(Self.commitRequest, in: bytes)
            {
                losesReplyUntil = now + Self.replyLimit
                hasSeenCommit = true
            }
            return true
        }
        take(from: server, into: &toClient, now, behaviour) { bytes, flow in
            guard losesReplyUntil != nil else { return true }
            if flow.sees(Self.commitReply, in: bytes) { hasLostCommitReply = true }
            return false
        }
        if isClosed { return hasSeenCommit }
        if isHalfOpen {
            toServer.pending = []
            toServer.byteCount = 0
            toClient.pending = []
            toClient.byteCount = 0
            // A side that gives up is not heard of by the other.
            if toServer.hasEnded || toClient.hasEnded {
                heldUntil = heldUntil ?? now + Self.deafTime
            }
            if toServer.hasEnded && toClient.hasEnded || heldUntil.map({ $0 <= now }) == true {
                reset()
            }
            return hasSeenCommit
        }
        if hasLostCommitReply || losesReplyUntil.map({ $0 <= now }) == true {
            reset()
            return hasSeenCommit
        }
        if behaviour != .stall {
            give(&toServer, to: server, now)
            give(&toClient, to: client, now)
        }
        if !isClosed, toServer.hasToldEnd, toClient.hasToldEnd {
            close(client)
            close(server)
            isClosed = true
        }
        return hasSeenCommit
    }

    private func take(
        from socket: Int32, into flow: inout Flow, _ now: ContinuousClock.Instant,
        _ behaviour: TCPProxy.Behaviour,
        _ keeps: (ArraySlice<UInt8>, inout Flow) -> Bool
    ) {
        guard !isClosed, !flow.hasEnded, flow.byteCount < Self.pendingByteCountMax else { return }
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(socket, &chunk, chunk.count, 0)
        if count > 0 {
            let bytes = chunk[..<count]
            guard keeps(bytes, &flow), !isHalfOpen else { return }
            var due = now
            if case .delay(let delay) = behaviour { due += delay }
            flow.pending.append((due, bytes))
            flow.byteCount += count
        } else if count == 0 {
            flow.hasEnded = true
        } else if errno != EAGAIN && errno != EINTR {
            reset()
        }
    }

    private func give(_ flow: inout Flow, to socket: Int32, _ now: ContinuousClock.Instant) {
        while !isClosed, let first = flow.pending.first, first.due <= now {
            let count = first.bytes.withUnsafeBytes {
                send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else {
                if errno != EAGAIN && errno != EINTR { reset() }
                return
            }
            flow.byteCount -= count
            if count == first.bytes.count {
                flow.pending.removeFirst()
            } else {
                flow.pending[0].bytes = first.bytes.dropFirst(count)
            }
        }
        if !isClosed, flow.hasEnded, !flow.hasToldEnd, flow.pending.isEmpty {
            shutdown(socket, Int32(SHUT_WR))
            flow.hasToldEnd = true
        }
    }
}
