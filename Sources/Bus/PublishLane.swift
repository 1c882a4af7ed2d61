internal import Blocks
internal import OwnedThreads
internal import Telemetry

/// What goes to one subject: the open block of a partition and the queue behind it, or the queue
/// of single messages.
final class PublishLane: Sendable {
    typealias Queue = PublishQueue<PublishReceipt>

    struct State {
        /// `nil` for a lane of single messages.
        var builder: BlockBuilder?
        var openWaiters: [PublishReceipt] = []
        var queue: Queue

        /// Bytes of the open block; an empty one counts nothing.
        var openByteCount: Int {
            guard let builder, !builder.isEmpty else { return 0 }
            return builder.byteCount
        }

        /// Everything that is open, waits or is in flight.
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

    init(index: Int, subject: String, stream: String, inFlightMax: Int, builder: BlockBuilder?) {
        self.index = index
        self.subject = subject
        self.stream = stream
        state = Monitor(State(builder: builder, queue: Queue(inFlightMax: inFlightMax)))
    }

    /// What an append did.
    enum Appended {
        case taken(byteCountChange: Int)
        case tooLarge(byteCountChange: Int)
    }

    /// Lets `body` append to the open block, and to further ones when it fills up.
    func append(_ receipt: PublishReceipt, _ body: (inout BlockBuilder) -> Bool) -> Appended {
        state.withLock { state in
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
                    receipt.expect(lane: index)
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

    /// Whether something may leave now; otherwise an answer that is awaited makes it leave.
    var mayLeave: Bool { state.withLock { $0.queue.mayLeave } }

    /// Puts a single message behind those that wait.
    func enqueue(_ payload: [UInt8], _ receipt: PublishReceipt) {
        receipt.expect(lane: index)
        state.withLock { state in
            let number = state.queue.takeNumber()
            state.queue.enqueue(
                Queue.Block(number: number, payload: payload, eventCount: 1, waiters: [receipt]))
        }
    }

    /// The block to send now, if there is one and it may leave.
    func nextToSend(
        deadline: ContinuousClock.Instant, acknowledgedBefore: UInt64
    ) -> Queue.Block? {
        state.withLock { state in
            if state.queue.wantsBlock {
                state.seal()
            }
            return state.queue.nextToSend(
                deadline: deadline, acknowledgedBefore: acknowledgedBefore)
        }
    }

    func answered(_ number: UInt64) -> Queue.Sent? {
        state.withLock { $0.queue.answered(number) }
    }

    func expire(now: ContinuousClock.Instant) -> [Queue.Sent] {
        state.withLock { $0.queue.expire(now: now) }
    }

    /// Gives up everything, the open block too.
    func removeAll() -> [Queue.Sent] {
        state.withLock { state in
            state.seal()
            return state.queue.removeAll()
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
