/// Who is there to read partitions, and who reads which.
package struct SharingView: Hashable, Sendable {
    /// This instance.
    package var me: String
    /// The instances that live, this one among them.
    package var instances: Set<String>
    /// The owner of each partition under a living lease.
    package var owners: [Int: String]

    package init(me: String, instances: Set<String>, owners: [Int: String]) {
        self.me = me
        self.instances = instances
        self.owners = owners
    }
}

/// What an instance does so that all have as many partitions, give or take one, with the fewest moves.
package struct SharingPlan: Hashable, Sendable {
    /// This instance's, and to be handed over to those that have fewer.
    package private(set) var surplus: Set<Int> = []
    /// This instance's by the tables, or nobody's and within its share.
    package private(set) var wanted: Set<Int> = []
    /// Nobody's, and for others to take.
    package private(set) var others: Set<Int> = []

    /// A pure function of what the tables say: every instance computes the same shares.
    package init(_ view: SharingView, partitionCount: Int) {
        let instances = view.instances.union([view.me])
        var owned: [String: [Int]] = [:]
        var free: Set<Int> = []
        for partition in 0..<partitionCount {
            // A lease of an instance that is gone is not ours to take before it ends.
            if let owner = view.owners[partition] {
                owned[owner, default: []].append(partition)
            } else {
                free.insert(partition)
            }
        }
        func count(_ instance: String) -> Int { owned[instance]?.count ?? 0 }
        // The larger shares go to those that own more, so that nothing moves without need.
        let ranked = instances.sorted {
            count($0) != count($1) ? count($0) > count($1) : $0 < $1
        }
        let rank = ranked.firstIndex(of: view.me) ?? 0
        let share =
            partitionCount / ranked.count + (rank < partitionCount % ranked.count ? 1 : 0)
        let mine = (owned[view.me] ?? []).sorted()
        surplus = Set(mine.dropFirst(share))
        // Each begins at another place, so that they do not reach for the same ones.
        let start = rank * share % max(1, partitionCount)
        let inOrder = free.sorted { ($0 < start ? 1 : 0, $0) < ($1 < start ? 1 : 0, $1) }
        let taken = inOrder.prefix(max(0, share - mine.count))
        wanted = Set(mine.prefix(share)).union(taken)
        others = free.subtracting(taken)
    }
}
