internal import OwnedThreads
internal import Transport

/// Checks that run side by side, on a bounded number of threads, begun in the order in which they are given.
final class CheckWorkers: Sendable {
    typealias Body = @Sendable () -> [CheckFinding]

    /// As many as a probe measures at once by default.
    private static let threadsMax = 32

    private let groups: [Range<Int>]
    private let results: Monitor<[Int: [CheckFinding]]>
    private let threads: [OwnedThread]

    /// Begins to run the bodies of all groups.
    init(_ groups: [[Body]]) {
        var first = 0
        self.groups = groups.map { group in
            defer { first += group.count }
            return first..<first + group.count
        }
        let bodies = groups.flatMap(\.self)
        let results = Monitor<[Int: [CheckFinding]]>([:])
        let next = Monitor(0)
        self.results = results
        threads = (0..<min(bodies.count, Self.threadsMax)).map { number in
            OwnedThread(name: "check-\(number)") {
                while true {
                    let index = next.update { next in
                        defer { next += 1 }
                        return next
                    }
                    guard bodies.indices.contains(index) else { return }
                    let found = bodies[index]()
                    results.update { $0[index] = found }
                }
            }
        }
    }

    /// Waits for what the bodies of a group found, and tells it in their order.
    func tell(group: Int, _ tell: (CheckFinding) -> Void) {
        for index in groups[group] {
            let found = results.wait(until: nil) { $0[index] } ?? []
            found.forEach(tell)
        }
    }

    /// Waits for the end of all, and joins the threads; call it once.
    func finish() {
        for thread in threads { thread.join() }
    }
}

/// Runs one check and notes how long it took.
func timed(_ check: () -> CheckFinding) -> CheckFinding {
    let started = MonotonicInstant.now()
    var finding = check()
    finding.duration = MonotonicInstant.now().since(started)
    return finding
}
