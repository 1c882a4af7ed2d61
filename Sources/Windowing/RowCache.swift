/// Rows by key in stable slots, with what must be loaded and what must be written.
struct RowCache<Key: SlotKey, Row: Sendable>: Sendable {
    private struct Slot: Sendable {
        var key: Key
        var row: Row
        var lastSequence: UInt64
        var isDirty: Bool
        var isUsed: Bool
    }

    private var slots: [Slot] = []
    private var free: [Int32] = []
    private var index = SlotIndex()
    private var unloaded: [Int32] = []
    private var dirty: [Int32] = []

    /// Rows held, loaded or not.
    var count: Int { index.count }
    /// Rows changed since the last ``markClean()``.
    var dirtyCount: Int { dirty.count }

    /// The slot of `key`; an unknown key gets one with the row `new`, which is to be loaded if it may be in the
    /// tables.
    mutating func slot(of key: Key, new: @autoclosure () -> Row, mustLoad: Bool) -> Int32 {
        let hash = key.slotHash
        if let known = self.slot(of: key, hash) { return known }
        let slot = Slot(key: key, row: new(), lastSequence: 0, isDirty: false, isUsed: true)
        let position: Int32
        if let reused = free.popLast() {
            position = reused
            slots[Int(reused)] = slot
        } else {
            position = Int32(truncatingIfNeeded: slots.count)
            slots.append(slot)
        }
        index.insert(position, hash: hash)
        if mustLoad { unloaded.append(position) }
        return position
    }

    @inline(__always)
    private func slot(of key: Key, _ hash: UInt64) -> Int32? {
        index.slot(hash: hash) { slots[Int($0)].key == key }
    }

    func key(at slot: Int32) -> Key { slots[Int(slot)].key }

    /// The keys whose rows must be read from the tables.
    var unloadedKeys: [Key] { unloaded.map { slots[Int($0)].key } }

    /// The row found for a key that was asked for.
    mutating func install(_ row: Row, for key: Key, lastSequence: UInt64) {
        guard let slot = slot(of: key, key.slotHash) else { return }
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

    /// The changed rows, ascending by what `order` makes of their keys.
    func dirtyRows<Order: Comparable, Result>(
        orderedBy order: (Key) -> Order, _ make: (Key, Row, UInt64) -> Result
    ) -> [Result] {
        var places = dirty.map { (order: order(slots[Int($0)].key), slot: $0) }
        places.sort { $0.order < $1.order }
        return places.map { place in
            let slot = slots[Int(place.slot)]
            return make(slot.key, slot.row, slot.lastSequence)
        }
    }

    mutating func markClean() {
        for position in dirty { slots[Int(position)].isDirty = false }
        dirty.removeAll(keepingCapacity: true)
    }

    /// Forgets the clean rows for which `isIdle` holds.
    ///
    /// - Parameter empty: Takes their place, so that their memory is given back at once.
    mutating func removeClean(leaving empty: Row, where isIdle: (Key, Row) -> Bool) {
        for position in slots.indices {
            guard slots[position].isUsed, !slots[position].isDirty,
                isIdle(slots[position].key, slots[position].row)
            else { continue }
            index.remove(
                Int32(truncatingIfNeeded: position), hash: slots[position].key.slotHash)
            slots[position].isUsed = false
            slots[position].row = empty
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
        index = SlotIndex()
        unloaded = []
    }
}
