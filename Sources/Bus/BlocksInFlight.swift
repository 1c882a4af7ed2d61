/// The blocks of one lane that were handed to the server and have no answer: decisions only, no clock and no I/O.
///
/// A block may leave while there is room; otherwise it waits, and the open block behind it goes on growing. So a
/// slow server makes blocks larger by itself and a lone event never waits for company.
struct BlocksInFlight<Waiter> {
    /// What is remembered of a block.
    struct Sent {
        let byteCount: Int
        let eventCount: Int
        let waiters: [Waiter]
        /// The highest sequence that the stream had acknowledged when the block left; 0 when it had none, or the
        /// block never left.
        let acknowledgedBefore: UInt64

        init(_ block: PublishQueue<Waiter>.Block, acknowledgedBefore: UInt64 = 0) {
            byteCount = block.payload.count
            eventCount = block.eventCount
            waiters = block.waiters
            self.acknowledgedBefore = acknowledgedBefore
        }
    }

    private struct Flight {
        let block: Sent
        let deadline: ContinuousClock.Instant
    }

    private let countMax: Int
    private var flights: [UInt64: Flight] = [:]

    /// - Parameter countMax: How many blocks may be without an answer, at least 1.
    init(countMax: Int) {
        precondition(countMax >= 1, "a lane that may send nothing")
        self.countMax = countMax
    }

    var count: Int { flights.count }

    /// Whether a block may leave now.
    var hasRoom: Bool { flights.count < countMax }

    /// The block leaves.
    mutating func add(
        _ block: PublishQueue<Waiter>.Block, deadline: ContinuousClock.Instant,
        acknowledgedBefore: UInt64 = 0
    ) {
        flights[block.number] = Flight(
            block: Sent(block, acknowledgedBefore: acknowledgedBefore), deadline: deadline)
    }

    /// An answer for the block `number` has come.
    ///
    /// - Returns: The block, or `nil` when it was given up before, or never sent.
    mutating func answered(_ number: UInt64) -> Sent? {
        flights.removeValue(forKey: number)?.block
    }

    /// Gives up the blocks whose deadline has passed.
    mutating func expire(now: ContinuousClock.Instant) -> [Sent] {
        flights.filter { $0.value.deadline <= now }.keys.compactMap { answered($0) }
    }

    /// Gives up everything.
    mutating func removeAll() -> [Sent] {
        let all = flights.values.map(\.block)
        flights.removeAll()
        return all
    }
}
