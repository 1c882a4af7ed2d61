/// The blocks of one lane that wait or are on their way: decisions only, no clock and no I/O.
///
/// A block leaves at once while fewer than `inFlightMax` have no answer; otherwise it waits, and
/// the open block beside this queue goes on growing. So a slow server makes blocks larger by
/// itself and a lone event never waits for company. A number is used once, whatever happens to
/// the block, so that a reader who misses one knows.
struct PublishQueue<Waiter> {
    /// A sealed block.
    struct Block {
        let number: UInt64
        let payload: [UInt8]
        let eventCount: Int
        let waiters: [Waiter]
    }

    /// What is remembered of a block that was handed to the server.
    struct Sent {
        let byteCount: Int
        let eventCount: Int
        let waiters: [Waiter]
        /// The highest sequence that the stream had acknowledged when the block left; 0 when it had none, or the
        /// block never left.
        let acknowledgedBefore: UInt64

        init(_ block: Block, acknowledgedBefore: UInt64 = 0) {
            byteCount = block.payload.count
            eventCount = block.eventCount
            waiters = block.waiters
            self.acknowledgedBefore = acknowledgedBefore
        }
    }

    private struct InFlight {
        let block: Sent
        let deadline: ContinuousClock.Instant
    }

    private let inFlightMax: Int
    private var waiting: [Block] = []
    private var inFlight: [UInt64: InFlight] = [:]
    private var nextNumber: UInt64

    /// The payloads that wait or are in flight, bytes.
    private(set) var byteCount = 0

    /// - Parameters:
    ///   - inFlightMax: How many blocks may be without an answer, at least 1.
    ///   - firstNumber: The number of the first block.
    init(inFlightMax: Int, firstNumber: UInt64 = 1) {
        precondition(inFlightMax >= 1, "a lane that may send nothing")
        self.inFlightMax = inFlightMax
        nextNumber = firstNumber
    }

    var waitingCount: Int { waiting.count }
    var inFlightCount: Int { inFlight.count }
    var isEmpty: Bool { waiting.isEmpty && inFlight.isEmpty }

    /// Whether a block that is sealed now would leave at once.
    var wantsBlock: Bool { waiting.isEmpty && inFlight.count < inFlightMax }

    /// Whether a block may leave, sealed already or not.
    var mayLeave: Bool { inFlight.count < inFlightMax }

    /// The number of the next block; never given twice.
    mutating func takeNumber() -> UInt64 {
        defer { nextNumber += 1 }
        return nextNumber
    }

    /// Adds a sealed block behind those that wait.
    mutating func enqueue(_ block: Block) {
        waiting.append(block)
        byteCount += block.payload.count
    }

    /// The block to send now, which counts as in flight from here on.
    mutating func nextToSend(
        deadline: ContinuousClock.Instant, acknowledgedBefore: UInt64 = 0
    ) -> Block? {
        guard inFlight.count < inFlightMax, !waiting.isEmpty else { return nil }
        let block = waiting.removeFirst()
        inFlight[block.number] = InFlight(
            block: Sent(block, acknowledgedBefore: acknowledgedBefore), deadline: deadline)
        return block
    }

    /// An answer for the block `number` has come.
    ///
    /// - Returns: The block, or `nil` when it was given up before, or never sent.
    mutating func answered(_ number: UInt64) -> Sent? {
        guard let block = inFlight.removeValue(forKey: number)?.block else { return nil }
        byteCount -= block.byteCount
        return block
    }

    /// Gives up the blocks whose deadline has passed.
    mutating func expire(now: ContinuousClock.Instant) -> [Sent] {
        inFlight.filter { $0.value.deadline <= now }.keys.compactMap { answered($0) }
    }

    /// Gives up everything.
    mutating func removeAll() -> [Sent] {
        let all = inFlight.values.map(\.block) + waiting.map { Sent($0) }
        waiting.removeAll()
        inFlight.removeAll()
        byteCount = 0
        return all
    }
}
