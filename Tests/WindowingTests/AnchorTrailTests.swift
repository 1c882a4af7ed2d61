import TestKit
import Testing
import Windowing

private func anchor(_ sequence: UInt64) -> LogAnchor {
    LogAnchor(sequence: sequence, brokerMilliseconds: Int64(sequence), payloadHash: sequence)
}

@Test(arguments: 0..<20 as Range<UInt64>)
func `wherever a log is cut, an anchor lies before the cut at no more than thrice its distance`(
    seed: UInt64
) throws {
    var random = SeededGenerator(seed: seed)
    var trail = AnchorTrail()
    var appended: [UInt64] = []
    var sequence: UInt64 = 0
    for _ in 0..<5000 {
        sequence += UInt64.random(in: 1...(random.chance(5) ? 500 : 5), using: &random)
        trail.append(anchor(sequence))
        appended.append(sequence)
    }
    #expect(trail.newest?.sequence == sequence)
    #expect(trail.anchors.count <= 64)
    for _ in 0..<200 {
        let cut = try #require(appended.randomElement(using: &random))
        let before = appended.last { $0 < cut }
        let kept = trail.anchors.first { $0.sequence < cut }
        guard let before, cut > appended[appended.count / 100] else { continue }
        let found = try #require(kept, "seed \(seed): nothing before \(cut)")
        let distance = sequence - min(before, cut)
        #expect(
            sequence - found.sequence <= 3 * distance + 3,
            "seed \(seed): cut at \(cut) of \(sequence), anchor at \(found.sequence)")
    }
}

@Test func `an anchor replaces those that stand where it does or beyond`() {
    var trail = AnchorTrail([anchor(5), anchor(9), anchor(7)])
    #expect(trail.anchors.map(\.sequence) == [9, 7, 5])
    trail.append(anchor(7))
    #expect(trail.anchors.map(\.sequence) == [7, 5])
}
