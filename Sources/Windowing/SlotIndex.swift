internal import Telemetry

/// Finds numbered slots by the hash of what they hold; one array, open addressing, linear probing.
///
/// It does not hold the keys: whoever does says whether a slot is the one.
struct SlotIndex: Sendable {
    /// The hash's 32 upper bits, which say where an entry belongs, above the slot's number plus one; 0 is free.
    private var entries: [UInt64] = []
    /// Slots in the index.
    private(set) var count = 0

    private static let slotBits: UInt64 = 32
    private static let slotMask = UInt64(1) << slotBits - 1
    private static let entryCountMin = 64

    /// Where the entry with this hash belongs in a table of a power of two.
    @inline(__always)
    private static func home(_ entry: UInt64, _ mask: Int) -> Int {
        Int(truncatingIfNeeded: entry >> slotBits) & mask
    }

    /// The slot with `hash` for which `isKey` holds.
    @inline(__always)
    func slot(hash: UInt64, where isKey: (Int32) -> Bool) -> Int32? {
        guard !entries.isEmpty else { return nil }
        let mask = entries.count &- 1
        var position = Self.home(hash, mask)
        while true {
            let entry = entries[position]
            if entry == 0 { return nil }
            if (entry ^ hash) >> Self.slotBits == 0 {
                let slot = Int32(truncatingIfNeeded: (entry & Self.slotMask) &- 1)
                if isKey(slot) { return slot }
            }
            position = (position &+ 1) & mask
        }
    }

    /// Adds a slot whose key is not in the index.
    mutating func insert(_ slot: Int32, hash: UInt64) {
        // A quarter stays free, so that a search ends soon.
        if (count &+ 1) &* 4 > entries.count &* 3 { grow() }
        let number = UInt64(UInt32(bitPattern: slot)) &+ 1
        place(hash & ~Self.slotMask | number & Self.slotMask)
        count &+= 1
    }

    /// Removes a slot, if it is there under this hash.
    mutating func remove(_ slot: Int32, hash: UInt64) {
        guard !entries.isEmpty else { return }
        let number = UInt64(UInt32(bitPattern: slot)) &+ 1
        let entry = hash & ~Self.slotMask | number & Self.slotMask
        let mask = entries.count &- 1
        var hole = Self.home(hash, mask)
        while entries[hole] != entry {
            if entries[hole] == 0 { return }
            hole = (hole &+ 1) & mask
        }
        // Entries behind the hole move up unless that would put them before their home.
        var position = hole
        while true {
            position = (position &+ 1) & mask
            let next = entries[position]
            if next == 0 { break }
            let distance = (position &- Self.home(next, mask)) & mask
            if distance >= (position &- hole) & mask {
                entries[hole] = next
                hole = position
            }
        }
        entries[hole] = 0
        count &-= 1
    }

    private mutating func place(_ entry: UInt64) {
        let mask = entries.count &- 1
        var position = Self.home(entry, mask)
        while entries[position] != 0 { position = (position &+ 1) & mask }
        entries[position] = entry
    }

    private mutating func grow() {
        let old = entries
        entries = Array(repeating: 0, count: max(Self.entryCountMin, old.count &* 2))
        for entry in old where entry != 0 { place(entry) }
    }
}

/// A key of a ``SlotIndex``.
protocol SlotKey: Equatable, Sendable {
    /// Equal for equal keys, unforeseeable for who sends events.
    var slotHash: UInt64 { get }
}

/// Hashes of short keys.
enum SlotHash {
    /// Different in each process, as the standard library's hashes are, so that nobody can send names that
    /// collide. Nothing that is written depends on it.
    static let seed = UInt64(truncatingIfNeeded: Hasher().finalize())

    /// Two words mixed by one multiplication of 64 by 64 bits.
    @inline(__always)
    static func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = (a ^ seed).multipliedFullWidth(by: b ^ 0x9E37_79B9_7F4A_7C15)
        return (product.high ^ product.low) &* 0xC2B2_AE3D_27D4_EB4F
    }
}
