internal import Glibc
internal import OwnedThreads
internal import Synchronization

/// Looks names up with the system's resolver, with a deadline.
///
/// `getaddrinfo` cannot be interrupted, so each lookup runs on a thread of the resolver's own and its
/// caller stops waiting at the deadline. Abandoned lookups keep their threads until the system gives
/// them back. With all of ``threadsMax`` held, further lookups wait for one, each until its own deadline.
package final class Resolver: Sendable {
    /// An answer and when it was asked for and given, by the thread that asked the system.
    package struct Answer: Sendable {
        /// In the order in which to try them (RFC 6724), at least one.
        package let addresses: [SocketAddress]
        package let started: MonotonicInstant
        package let finished: MonotonicInstant

        package init(
            addresses: [SocketAddress], started: MonotonicInstant, finished: MonotonicInstant
        ) {
            self.addresses = addresses
            self.started = started
            self.finished = finished
        }
    }

    /// The most lookups at once, hanging ones included.
    package let threadsMax: Int

    /// How often a waiting caller looks whether it was interrupted.
    private static let interruptCheck = Duration.milliseconds(100)

    private final class Lookup: Sendable {
        let host: String
        let port: UInt16
        let result = Monitor<Result<Answer, TransportError>?>(nil)

        init(host: String, port: UInt16) {
            self.host = host
            self.port = port
        }
    }

    private struct State {
        var waiting: [Lookup] = []
        var threads: [OwnedThread] = []
        /// The indices in `threads` of those that are in the system's resolver.
        var asking: Set<Int> = []
        var isStopped = false
    }

    private let state = Monitor(State())
    private let ask: @Sendable (String, UInt16) -> Result<Answer, TransportError>

    /// Threads that hung in the system's resolver when their owner stopped: nothing can end or join them.
    private static let leftBehind = Mutex<[OwnedThread]>([])

    /// - Parameter ask: Asks the system for a host's addresses; tests put another answer in its place.
    package init(
        threadsMax: Int = 16,
        asking ask: @escaping @Sendable (String, UInt16) -> Result<Answer, TransportError> =
            Resolver.askSystem
    ) {
        precondition(threadsMax > 0, "a resolver without threads resolves nothing")
        self.threadsMax = threadsMax
        self.ask = ask
    }

    deinit {
        shutDown()
    }

    /// The addresses of `host`, which must not be an IP address already.
    ///
    /// - Throws: ``TransportError``: ``TransportError/Code/nameNotFound``,
    ///   ``TransportError/Code/nameLookupFailed``, ``TransportError/Code/timedOut`` or
    ///   ``TransportError/Code/interrupted``.
    package func addresses(
        of host: String, port: UInt16, _ patience: Patience
    ) throws(TransportError) -> Answer {
        let lookup = Lookup(host: host, port: port)
        try submit(lookup)
        while true {
            if patience.interrupt?.isTriggered == true {
                withdraw(lookup)
                throw TransportError(.interrupted, "looking up \(host): stopped")
            }
            let slice = min(patience.remaining, Self.interruptCheck)
            let result = lookup.result.wait(until: .now + slice) { $0 }
            if let result { return try result.get() }
            if patience.remaining == .zero {
                withdraw(lookup)
                throw TransportError(.timedOut, "looking up \(host): deadline passed")
            }
        }
    }

    /// Lookups that the system has not answered, abandoned ones included.
    package var openLookups: Int {
        state.withLock { $0.asking.count }
    }

    /// Ends the idle threads and leaves behind those that hang; later lookups fail. Once is enough.
    package func shutDown() {
        let (idle, hanging) = state.update { state -> ([OwnedThread], [OwnedThread]) in
            guard !state.isStopped else { return ([], []) }
            state.isStopped = true
            state.waiting = []
            let threads = state.threads.enumerated()
            state.threads = []
            return (
                threads.filter { !state.asking.contains($0.offset) }.map(\.element),
                threads.filter { state.asking.contains($0.offset) }.map(\.element)
            )
        }
        for thread in idle { thread.join() }
        Self.leftBehind.withLock { $0 += hanging }
    }

    private func submit(_ lookup: Lookup) throws(TransportError) {
        try state.update { (state) throws(TransportError) in
            guard !state.isStopped else {
                throw TransportError(.interrupted, "looking up \(lookup.host): stopped")
            }
            let idleThreads = state.threads.count - state.asking.count
            if idleThreads <= state.waiting.count, state.threads.count < threadsMax {
                let shared = self.state
                let index = state.threads.count
                let thread = OwnedThread(ifPossible: "resolver-\(index)") { [ask] in
                    Self.serve(shared, index, ask)
                }
                // One that is there gets to it later; without any, nobody would.
                guard thread != nil || !state.threads.isEmpty else {
                    throw TransportError(.system, "looking up \(lookup.host): \(noThread)")
                }
                if let thread { state.threads.append(thread) }
            }
            state.waiting.append(lookup)
        }
    }

    /// Forgets a lookup that no thread has begun.
    private func withdraw(_ lookup: Lookup) {
        state.update { $0.waiting.removeAll { $0 === lookup } }
    }

    private static func serve(
        _ shared: Monitor<State>, _ index: Int,
        _ ask: (String, UInt16) -> Result<Answer, TransportError>
    ) {
        while true {
            let next: Lookup?? = shared.wait(until: nil) { state -> Lookup?? in
                if state.isStopped { return .some(nil) }
                guard !state.waiting.isEmpty else { return nil }
                state.asking.insert(index)
                return .some(state.waiting.removeFirst())
            }
            guard case .some(.some(let lookup)) = next else { return }
            let answer = ask(lookup.host, lookup.port)
            shared.update { _ = $0.asking.remove(index) }
            lookup.result.update { $0 = answer }
        }
    }

    /// Asks the system; blocks for as long as its resolver likes.
    package static func askSystem(
        _ host: String, _ port: UInt16
    ) -> Result<Answer, TransportError> {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let started = MonotonicInstant.now()
        let status = unsafe getaddrinfo(host, String(port), &hints, &list)
        let finished = MonotonicInstant.now()
        let systemError = errno
        defer { if let list = unsafe list { unsafe freeaddrinfo(list) } }
        guard status == 0 else {
            let code: TransportError.Code
            switch status {
            // The GNU-only EAI_NODATA (-5): the name exists and has no address.
            case EAI_NONAME, -5: code = .nameNotFound
            default: code = .nameLookupFailed
            }
            let reason =
                unsafe status == EAI_SYSTEM
                ? TransportError.text(ofErrno: systemError) : String(cString: gai_strerror(status))
            return .failure(TransportError(code, "looking up \(host): \(reason)"))
        }
        var addresses: [SocketAddress] = []
        var next = unsafe list
        while let entry = unsafe next {
            if let pointer = unsafe entry.pointee.ai_addr,
                let address = unsafe SocketAddress(pointer, length: entry.pointee.ai_addrlen)
            {
                addresses.append(address)
            }
            unsafe next = entry.pointee.ai_next
        }
        guard !addresses.isEmpty else {
            return .failure(
                TransportError(.nameNotFound, "looking up \(host): no IP address"))
        }
        return .success(Answer(addresses: addresses, started: started, finished: finished))
    }
}

/// What is said when the system refuses a thread.
package let noThread = "the system gives no more threads; raise its limit (pids, ulimit -u)"
