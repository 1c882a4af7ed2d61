internal import OwnedThreads

/// Calls `body` with each of `items`, several at once, each on an owned thread; returns in the order of the items.
///
/// - Parameter limit: So many at once.
package func inParallel<Item: Sendable, Value: Sendable>(
    _ items: [Item], limit: Int = 16, _ body: @escaping @Sendable (Item) -> Value
) -> [Value] {
    let results = Monitor([Int: Value]())
    let next = Monitor(0)
    let threads = (0..<min(limit, items.count)).compactMap { number in
        OwnedThread(ifPossible: "machine-\(number)") {
            while true {
                let index = next.withLock { index in
                    defer { index += 1 }
                    return index
                }
                guard index < items.count else { return }
                let value = body(items[index])
                results.withLock { $0[index] = value }
            }
        }
    }
    for thread in threads { thread.join() }
    return items.indices.map { index in
        // Without a thread from the system the caller's own has to do.
        results.withLock { $0[index] } ?? body(items[index])
    }
}
