/// Rows by key in stable slots, with what must be loaded and what must be written.
struct RowCache<Key: Hashable & Sendable, Row: Sendable>: Sendable {
    private struct Slot: Sendable {
        var key: Key
        var row: Row
        var lastSequence: UInt64
        var isDirty: Bool
        var isUsed: Bool
    }

    private var slots: [Slot] = []
    private var free: [Int32] = []
    private var index: [Key: Int32] = [:]
    private var unloaded: [Int32] = []
    private var dirty: [Int32] = []

    /// Rows held, loaded or not.
    var count: Int { index.count }
    /// Rows changed since the last ``markClean()``.
    var dirtyCount: Int { dirty.count }

    /// The slot of `key`; an unknown key gets one with the row `new`, which is to be loaded if it may be in the
    /// tables.
    mutating func slot(of key: Key, new: @autoclosure () -> Row, mustLoad: Bool) -> Int32 {
        if let known = index[key] { return known }
        let slot = Slot(key: key, row: new(), lastSequence: 0, isDirty: false, isUsed: true)
        let position: Int32
        if let reused = free.popLast() {
            position = reused
            slots[Int(reused)] = slot
        } else {
            position = Int32(truncatingIfNeeded: slots.count)
            slots.append(slot)
        }
        index[key] = position
        if mustLoad { unloaded.append(position) }
        return position
    }

    func key(at slot: Int32) -> Key { slots[Int(slot)].key }

    /// The keys whose rows must be read from the tables.
    var unloadedKeys: [Key] { unloaded.map { slots[Int($0)].key } }

    /// The row found for a key that was asked for.
    mutating func install(_ row: Row, for key: Key, lastSequence: UInt64) {
        guard let slot = index[key] else { return }
        slots[Int(slot)].row = row
        slots[Int(slot)].lastSequence = lastSequence
    }

    /// What was asked for and not found is new.
    mutating func finishLoading() {
        unloaded.removeAll(keepingCapacity: true)
    }

    /// Changes the row in `slot` on behalf of the message with `sequence`.
    @inline(__always)
    mutating func update<Result>(
        at slot: Int32, sequence: UInt64, _ change: (inout Row) -> Result
    ) -> Result {
        let slot = Int(slot)
        if !slots[slot].isDirty {
            slots[slot].isDirty = true
            dirty.append(Int32(truncatingIfNeeded: slot))
        }
        slots[slot].lastSequence = sequence
        return change(&slots[slot].row)
    }

    /// The changed rows, in the order of their first change.
    func dirtyRows<Result>(_ make: (Key, Row, UInt64) -> Result) -> [Result] {
        dirty.map { position in
            let slot = slots[Int(position)]
            return make(slot.key, slot.row, slot.lastSequence)
        }
    }

    mutating func markClean() {
        for position in dirty { slots[Int(position)].isDirty = false }
        dirty.removeAll(keepingCapacity: true)
    }

    /// Forgets the clean rows for which `isIdle` holds.
    mutating func removeClean(where isIdle: (Key, Row) -> Bool) {
        for position in slots.indices {
            guard slots[position].isUsed, !slots[position].isDirty,
                isIdle(slots[position].key, slots[position].row)
            else { continue }
            index.removeValue(forKey: slots[position].key)
            slots[position].isUsed = false
            free.append(Int32(truncatingIfNeeded: position))
        }
    }

    func forEachKey(_ body: (Key) -> Void) {
        for slot in slots where slot.isUsed { body(slot.key) }
    }

    /// Forgets every row; nothing may be dirty.
    mutating func removeAllClean() {
        precondition(dirty.isEmpty, "changed rows are written before they are forgotten")
        slots = []
        free = []
        index = [:]
        unloaded = []
    }
}
