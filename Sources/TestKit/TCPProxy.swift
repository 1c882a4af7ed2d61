internal import Glibc
internal import OwnedThreads
internal import PrivateServers
internal import Synchronization

/// A link on 127.0.0.1 that can fail: it hands bytes on until it is told to cut, hold or slow them.
package final class TCPProxy: Sendable {
    /// What becomes of bytes from now on, on all connections that are not half open.
    package enum Behaviour: Sendable, Equatable {
        case forward
        /// Bytes and connections are accepted, and wait until the behaviour changes.
        case stall
        /// Each byte waits for this long.
        case delay(Duration)
    }

    /// Where clients connect to.
    package let port: Int
    private let shared: Mutex<ProxyOrders>
    private let wakerInput: Int32
    private let thread: Mutex<OwnedThread?>

    /// Begins to listen on a free port of 127.0.0.1 and to forward to the port `target` there.
    package init(to target: Int) throws {
        let (listener, port) = try listenOnLoopback()
        // A byte into the pipe wakes the thread.
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            close(listener)
            throw PrivateServerError.system(call: "pipe", errno: errno)
        }
        let (waker, wakerInput) = (ends[0], ends[1])
        for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        self.port = port
        self.wakerInput = wakerInput
        shared = Mutex(ProxyOrders(target: target))
        thread = Mutex(nil)
        let loop = OwnedThread(name: "proxy \(port)") { [self] in
            var loop = ProxyLoop(listener: listener, waker: waker)
            var isRunning = true
            while isRunning {
                isRunning = loop.turn(shared.withLock { $0.take() })
                shared.withLock { $0.counts = loop.counts }
            }
        }
        thread.withLock { $0 = loop }
    }

    /// Has new connections lead to another port; those that are open stay.
    package func retarget(to port: Int) {
        order { $0.target = port }
    }

    package func set(_ behaviour: Behaviour) {
        order { $0.behaviour = behaviour }
    }

    /// Ends all open connections by a reset, with whatever is on its way.
    package func cut() {
        order { $0.cuts = true }
    }

    /// Leaves all open connections dead without telling anybody: what is sent into them vanishes, and neither
    /// side sees an end. New connections work.
    package func leaveHalfOpen() {
        order { $0.halfOpens = true }
    }

    /// Loses the server's answer to the next COMMIT of a PostgreSQL client, by a reset behind it.
    ///
    /// Sees the prepared statement named `commit` executed, which is how ``PostgresConnection`` commits.
    package func loseNextCommitReply() {
        order { $0.commitRepliesToLose += 1 }
    }

    /// How many answers to COMMIT have been lost.
    package var lostCommitReplies: Int { shared.withLock { $0.counts.lostCommitReplies } }

    /// How many connections are open, half-open ones included.
    package var openCount: Int { shared.withLock { $0.counts.open } }

    /// Resets all connections and stops listening.
    package func stop() {
        order { $0.stops = true }
        guard let thread = thread.withLock({ $0.take() }) else { return }
        thread.join()
        shared.withLock { $0.hasEnded = true }
        close(wakerInput)
    }

    private func order(_ change: (inout ProxyOrders) -> Void) {
        shared.withLock { orders in
            guard !orders.hasEnded else { return }
            change(&orders)
            // A full pipe wakes as well.
            var byte: UInt8 = 0
            write(wakerInput, &byte, 1)
        }
    }
}

/// What a proxy's thread was asked to do.
struct ProxyOrders: Sendable {
    struct Counts: Sendable {
        var open = 0
        var lostCommitReplies = 0
    }

    var target: Int
    var behaviour = TCPProxy.Behaviour.forward
    var cuts = false
    var halfOpens = false
    var commitRepliesToLose = 0
    var stops = false
    /// Nobody obeys any more.
    var hasEnded = false
    var counts = Counts()

    init(target: Int) {
        self.target = target
    }

    /// Returns all of it and keeps what stays true.
    mutating func take() -> ProxyOrders {
        let taken = self
        cuts = false
        halfOpens = false
        commitRepliesToLose = 0
        return taken
    }
}

/// A listening socket that does not block, and its port.
private func listenOnLoopback() throws -> (socket: Int32, port: Int) {
    let flags = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    while true {
        let port = try freeLoopbackPort()
        let listener = socket(AF_INET, flags, 0)
        var address = loopback(port)
        let status = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        let backlog: Int32 = 128
        if status == 0, listen(listener, backlog) == 0 { return (listener, port) }
        // Somebody else took the port first.
        close(listener)
    }
}

func loopback(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
    address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
    return address
}
