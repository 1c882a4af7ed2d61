import TestKit
import Testing

@testable import Windowing

@Test(arguments: 0..<10 as Range<UInt64>)
func `an index finds what was inserted and not removed`(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var index = SlotIndex()
    var hashes: [Int32: UInt64] = [:]
    // Few different hashes make long runs of collisions.
    let spread: UInt64 = seed % 2 == 0 ? 12 : .max
    for slot in 0..<Int32(2000) {
        let hash = (random.next() % spread) << 32
        index.insert(slot, hash: hash)
        hashes[slot] = hash
        let gone = Int32(random.next() % 2000)
        if let hash = hashes.removeValue(forKey: gone) { index.remove(gone, hash: hash) }
    }
    #expect(index.count == hashes.count)
    for slot in 0..<Int32(2000) {
        guard let hash = hashes[slot] else { continue }
        #expect(index.slot(hash: hash) { $0 == slot } == slot)
    }
    for (slot, hash) in hashes {
        index.remove(slot, hash: hash)
        #expect(index.slot(hash: hash) { $0 == slot } == nil)
    }
    #expect(index.count == 0)
    index.remove(7, hash: 7)
    #expect(index.count == 0)
}
