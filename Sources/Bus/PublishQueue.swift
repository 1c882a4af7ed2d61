/// The sealed blocks of one lane that wait for their turn, and the numbers of all.
///
/// A number is used once, whatever happens to the block, so that a reader who misses one knows.
struct PublishQueue<Waiter> {
    /// A sealed block.
    struct Block {
        let number: UInt64
        let payload: [UInt8]
        let eventCount: Int
        let waiters: [Waiter]
    }

    private var waiting: [Block] = []
    private var nextNumber: UInt64

    /// The payloads that wait, bytes.
    private(set) var byteCount = 0

    /// - Parameter firstNumber: The number of the first block.
    init(firstNumber: UInt64 = 1) {
        nextNumber = firstNumber
    }

    var isEmpty: Bool { waiting.isEmpty }

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

    /// Takes the block whose turn it is.
    mutating func takeFirst() -> Block? {
        guard !waiting.isEmpty else { return nil }
        let block = waiting.removeFirst()
        byteCount -= block.payload.count
        return block
    }

    /// Takes everything.
    mutating func takeAll() -> [Block] {
        let all = waiting
        waiting.removeAll()
        byteCount = 0
        return all
    }
}
