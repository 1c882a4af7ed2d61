internal import Blocks
internal import OwnedThreads
internal import Synchronization
internal import Telemetry

/// What goes to one subject and has not left: the open block of a partition and the sealed ones before it, or
/// single messages.
///
/// Event loops append under a short lock and the publisher's thread takes blocks out under it; what is in flight
/// is the thread's own.
final class PublishLane: Sendable {
    typealias Queue = PublishQueue<PublishReceipt>

    struct State {
        /// `nil` for a lane of single messages.
        var builder: BlockBuilder?
        var openWaiters: [PublishReceipt] = []
        var queue = Queue()

        /// Bytes of the open block; an empty one counts nothing.
        var openByteCount: Int {
            guard let builder, !builder.isEmpty else { return 0 }
            return builder.byteCount
        }

        /// Everything that is open or waits.
        var byteCount: Int { openByteCount + queue.byteCount }

        /// Closes the open block and puts it behind those that wait; changes no byte count.
        mutating func seal() {
            guard builder?.isEmpty == false else { return }
            let eventCount = builder?.eventCount ?? 0
            let number = queue.takeNumber()
            guard let payload = builder?.seal(blockNumber: number) else { return }
            queue.enqueue(
                Queue.Block(
                    number: number, payload: payload, eventCount: eventCount, waiters: openWaiters))
            openWaiters.removeAll(keepingCapacity: true)
        }
    }

    let index: Int
    let subject: String
    let stream: String
    /// A POSIX lock: Thread Sanitizer cannot see a contended `Synchronization.Mutex` (Swift 6.3), and
    /// this is the one that many threads contend for.
    let state: Monitor<State>
    /// Whether something was added that the publisher's thread has not looked at.
    private let isTouched = Atomic(false)
    /// Whether the thread would have sent more when it last looked. Written under the lock, so who has appended
    /// since then sees it, or the thread sees what was appended.
    private let hasRoom = Atomic(true)

    init(index: Int, subject: String, stream: String, builder: BlockBuilder?) {
        self.index = index
        self.subject = subject
        self.stream = stream
        state = Monitor(State(builder: builder))
    }

    /// What an append did.
    enum Appended {
        case taken(byteCountChange: Int)
        case tooLarge(byteCountChange: Int)
    }

    /// Lets `body` append to the open block, and to further ones when it fills up.
    func append(_ receipt: PublishReceipt, _ body: (inout BlockBuilder) -> Bool) -> Appended {
        defer { isTouched.store(true, ordering: .sequentiallyConsistent) }
        return state.withLock { state in
            let before = state.byteCount
            while true {
                guard var builder = state.builder.take() else {
                    preconditionFailure("\(subject) takes no events")
                }
                let wasEmpty = builder.isEmpty
                let countBefore = builder.eventCount
                let isDone = body(&builder)
                let hasGrown = builder.eventCount > countBefore
                state.builder = consume builder
                if hasGrown, state.openWaiters.last !== receipt {
                    receipt.expect()
                    state.openWaiters.append(receipt)
                }
                if isDone {
                    return .taken(byteCountChange: state.byteCount - before)
                }
                if wasEmpty && !hasGrown {
                    return .tooLarge(byteCountChange: state.byteCount - before)
                }
                state.seal()
            }
        }
    }

    /// Puts a single message behind those that wait.
    func enqueue(_ payload: [UInt8], _ receipt: PublishReceipt) {
        receipt.expect()
        state.withLock { state in
            let number = state.queue.takeNumber()
            state.queue.enqueue(
                Queue.Block(number: number, payload: payload, eventCount: 1, waiters: [receipt]))
        }
        isTouched.store(true, ordering: .sequentiallyConsistent)
    }

    /// Whether something was added that may leave now; otherwise an answer that is awaited makes it leave.
    var wantsThread: Bool {
        isTouched.load(ordering: .sequentiallyConsistent)
            && hasRoom.load(ordering: .sequentiallyConsistent)
    }

    // MARK: - On the publisher's thread

    /// Whether something was added since the last call.
    func takeTouched() -> Bool {
        isTouched.load(ordering: .relaxed)
            && isTouched.exchange(false, ordering: .sequentiallyConsistent)
    }

    /// The block to send now, if there is one and there is room for it in flight.
    func nextToSend(hasRoom: Bool) -> Queue.Block? {
        state.withLock { state in
            self.hasRoom.store(hasRoom, ordering: .sequentiallyConsistent)
            guard hasRoom else { return nil }
            if state.queue.isEmpty {
                state.seal()
            }
            return state.queue.takeFirst()
        }
    }

    /// Gives up everything, the open block too.
    func takeAll() -> [Queue.Block] {
        state.withLock { state in
            hasRoom.store(true, ordering: .sequentiallyConsistent)
            state.seal()
            return state.queue.takeAll()
        }
    }

    /// Replaces the builder by one of another size, after closing the open block.
    func rebuild(_ make: () -> BlockBuilder) {
        state.withLock { state in
            guard state.builder != nil else { return }
            state.seal()
            state.builder = make()
        }
    }
}
