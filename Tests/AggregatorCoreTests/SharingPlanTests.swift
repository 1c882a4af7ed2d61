import AggregatorCore
import TestKit
import Testing

private func plan(
    _ me: String, _ instances: Set<String>, _ owners: [Int: String], count: Int = 16
) -> SharingPlan {
    SharingPlan(
        SharingView(me: me, instances: instances, owners: owners), partitionCount: count)
}

@Test func `an instance that is alone wants everything`() {
    let plan = plan("a", ["a"], [:])
    #expect(plan.wanted == Set(0..<16))
    #expect(plan.surplus.isEmpty && plan.others.isEmpty)
}

@Test func `a newcomer makes the others give up what is beyond their share, and no more`() {
    let owners = Dictionary(uniqueKeysWithValues: (0..<16).map { ($0, "a") })
    let old = plan("a", ["a", "b", "c"], owners)
    #expect(old.surplus == Set(6..<16))
    #expect(plan("b", ["a", "b", "c"], owners).wanted.isEmpty)
}

@Test func `what is shared evenly stays where it is`() {
    let owners = Dictionary(uniqueKeysWithValues: (0..<5).map { ($0, $0 < 3 ? "b" : "a") })
    for me in ["a", "b"] {
        let plan = plan(me, ["a", "b"], owners, count: 5)
        #expect(plan.surplus.isEmpty)
        #expect(plan.wanted == Set(owners.filter { $0.value == me }.keys))
    }
}

@Test func `a partition under the lease of an instance that is gone is nobody's to take`() {
    let plan = plan("a", ["a"], [3: "gone"], count: 4)
    #expect(plan.wanted == [0, 1, 2])
}

@Test(arguments: 0..<200 as Range<UInt64>)
func `instances that follow their plans end with even shares, after the fewest moves`(
    seed: UInt64
) {
    var random = SeededGenerator(seed: seed)
    let count = Int.random(in: 1...40, using: &random)
    let instances = Set((0..<Int.random(in: 1...6, using: &random)).map { "i\($0)" })
    var owners: [Int: String] = [:]
    for partition in 0..<count where random.chance(60) {
        owners[partition] = instances.randomElement(using: &random)
    }
    let before = owners
    for _ in 0..<20 {
        for me in instances.shuffled(using: &random) {
            let plan = plan(me, instances, owners, count: count)
            for partition in plan.surplus { owners[partition] = nil }
            for partition in plan.wanted where owners[partition] == nil { owners[partition] = me }
        }
    }
    let shares = instances.map { me in owners.values.count { $0 == me } }
    #expect(owners.count == count, "seed \(seed)")
    #expect((shares.max() ?? 0) - (shares.min() ?? 0) <= 1, "seed \(seed): \(shares)")
    let largest = (count + instances.count - 1) / instances.count
    let excess = instances.map { me in max(0, before.values.count { $0 == me } - largest) }
    let moved = before.count { owners[$0.key] != $0.value }
    // One more each, where the larger shares were not enough for all that had them.
    #expect(moved <= excess.reduce(0, +) + instances.count, "seed \(seed)")
}
