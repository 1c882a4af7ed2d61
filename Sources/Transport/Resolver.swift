internal import Glibc

/// Looks names up with the system's resolver, with a deadline.
///
/// `getaddrinfo` cannot be interrupted, so each lookup runs on a thread of the resolver's own and its
/// caller stops waiting at the deadline. Abandoned lookups keep their threads until the system gives
/// them back: with all of ``threadsMax`` held, new lookups fail at once with
/// ``TransportError/Code/resolverBusy``.
package final class Resolver: Sendable {
    /// An answer and when it was asked for and given, by the thread that asked the system.
    package struct Answer: Sendable {
        /// In the order in which to try them (RFC 6724), at least one.
        package let addresses: [SocketAddress]
        package let started: MonotonicInstant
        package let finished: MonotonicInstant
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
        var idleThreads = 0
        var threads: [OwnedThread] = []
        var isStopped = false
    }

    private let state = Monitor(State())

    package init(threadsMax: Int = 16) {
        precondition(threadsMax > 0, "a resolver without threads resolves nothing")
        self.threadsMax = threadsMax
    }

    deinit {
        shutDown()
    }

    /// The addresses of `host`, which must not be an IP address already.
    ///
    /// - Throws: ``TransportError``: ``TransportError/Code/nameNotFound``,
    ///   ``TransportError/Code/nameLookupFailed``, ``TransportError/Code/resolverBusy``,
    ///   ``TransportError/Code/timedOut`` or ``TransportError/Code/interrupted``.
    package func addresses(
        of host: String, port: UInt16, _ patience: Patience
    ) throws(TransportError) -> Answer {
        let lookup = Lookup(host: host, port: port)
        try submit(lookup)
        while true {
            if patience.interrupt?.isTriggered == true {
                throw TransportError(.interrupted, "looking up \(host): stopped")
            }
            let slice = MonotonicInstant.now().advanced(by: Self.interruptCheck)
            let result = lookup.result.wait(until: min(slice, patience.deadline)) { $0 }
            if let result { return try result.get() }
            if patience.deadline <= .now() {
                throw TransportError(.timedOut, "looking up \(host): deadline passed")
            }
        }
    }

    /// Lookups that are begun and not answered, hanging ones included.
    package var busyThreads: Int {
        state.read { $0.threads.count - $0.idleThreads }
    }

    /// Ends the idle threads and abandons those that hang; later lookups fail.
    package func shutDown() {
        let threads = state.change { state in
            state.isStopped = true
            state.waiting = []
            let threads = state.threads
            state.threads = []
            return threads
        }
        // A thread in `getaddrinfo` can hold its join up for as long as the system likes.
        for thread in threads { thread.abandon() }
    }

    private func submit(_ lookup: Lookup) throws(TransportError) {
        try state.change { (state) throws(TransportError) in
            guard !state.isStopped else {
                throw TransportError(.interrupted, "looking up \(lookup.host): stopped")
            }
            if state.idleThreads <= state.waiting.count {
                guard state.threads.count < threadsMax else {
                    throw TransportError(
                        .resolverBusy,
                        "looking up \(lookup.host): \(threadsMax) lookups hang in the system's "
                            + "resolver; check the name servers in /etc/resolv.conf")
                }
                let shared = self.state
                state.threads.append(
                    try OwnedThread(named: "resolver") { Self.serve(shared) })
                state.idleThreads += 1
            }
            state.waiting.append(lookup)
        }
    }

    private static func serve(_ shared: Monitor<State>) {
        while true {
            let lookup = shared.wait(until: nil) { state -> Lookup?? in
                if state.isStopped { return .some(nil) }
                guard !state.waiting.isEmpty else { return nil }
                state.idleThreads -= 1
                return state.waiting.removeFirst()
            }
            guard let lookup, let lookup else { return }
            let answer = ask(lookup)
            shared.change { $0.idleThreads += 1 }
            lookup.result.change { $0 = answer }
        }
    }

    private static func ask(_ lookup: Lookup) -> Result<Answer, TransportError> {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let started = MonotonicInstant.now()
        let status = unsafe getaddrinfo(lookup.host, String(lookup.port), &hints, &list)
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
            return .failure(TransportError(code, "looking up \(lookup.host): \(reason)"))
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
                TransportError(.nameNotFound, "looking up \(lookup.host): no IP address"))
        }
        return .success(Answer(addresses: addresses, started: started, finished: finished))
    }
}
