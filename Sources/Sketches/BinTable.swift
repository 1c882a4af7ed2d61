/// Counts by key, packed into one sorted array: the storage of sketches.
///
/// An element is `key << 40 | count`. Keys ascend and no count is 0, so equal contents have equal
/// bytes. Most tables hold a handful of bins; a table of a dashboard's cell for six metrics
/// stays in one allocation of a few hundred bytes.
package struct BinTable: Hashable, Sendable {
    /// Bits of an element that hold the count.
    package static let countBits: UInt64 = 40
    /// The largest count of one bin, 2^40 − 1; more is counted no further.
    package static let countMax: UInt64 = 1 << countBits - 1
    /// The largest key: elements stay positive as signed 64-bit integers.
    package static let keyMax: UInt32 = 1 << 23 - 1

    /// The elements, ascending.
    package private(set) var elements: [UInt64] = []

    package init() {}

    /// A table from stored elements, or nil when they are not ascending, or a key or count is out of range.
    package init?(elements: some Sequence<UInt64>) {
        self.elements = Array(elements)
        var previous: UInt64?
        for element in self.elements {
            let key = element >> Self.countBits
            guard element & Self.countMax > 0, key <= UInt64(Self.keyMax) else { return nil }
            if let previous, key <= previous { return nil }
            previous = key
        }
    }

    package var isEmpty: Bool { elements.isEmpty }

    /// The position of the first element whose key is at least `key`.
    @inline(__always)
    private func position(of key: UInt64) -> Int {
        var low = 0
        var high = elements.count
        while low < high {
            let middle = (low &+ high) >> 1
            if elements[middle] >> Self.countBits < key { low = middle &+ 1 } else { high = middle }
        }
        return low
    }

    /// Adds `count` to the bin of `key`, which is at most ``keyMax``.
    @inline(__always)
    package mutating func add(key: UInt32, count: UInt64 = 1) {
        let key = UInt64(key)
        let position = position(of: key)
        if position < elements.count, elements[position] >> Self.countBits == key {
            let old = elements[position] & Self.countMax
            elements[position] = key << Self.countBits | Self.sum(old, count)
        } else if count > 0 {
            elements.insert(key << Self.countBits | min(count, Self.countMax), at: position)
        }
    }

    private static func sum(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let (sum, overflow) = a.addingReportingOverflow(b)
        return overflow ? countMax : min(sum, countMax)
    }

    /// Adds every bin of `other`.
    package mutating func merge(_ other: BinTable) {
        guard !other.isEmpty else { return }
        var merged: [UInt64] = []
        merged.reserveCapacity(elements.count + other.elements.count)
        var left = elements[...]
        var right = other.elements[...]
        while let a = left.first, let b = right.first {
            let keyA = a >> Self.countBits
            let keyB = b >> Self.countBits
            if keyA < keyB {
                merged.append(a)
                left.removeFirst()
            } else if keyB < keyA {
                merged.append(b)
                right.removeFirst()
            } else {
                merged.append(
                    keyA << Self.countBits | Self.sum(a & Self.countMax, b & Self.countMax))
                left.removeFirst()
                right.removeFirst()
            }
        }
        merged += left
        merged += right
        elements = merged
    }
}
