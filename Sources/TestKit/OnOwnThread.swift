internal import OwnedThreads

/// Runs what blocks or computes for long on a thread of its own, while other tests go on with the cooperative ones.
package func onOwnThread<Value: Sendable>(
    _ name: String, _ body: @escaping @Sendable () throws -> Value
) async throws -> Value {
    var thread: OwnedThread?
    let outcome = await withCheckedContinuation { continuation in
        thread = OwnedThread(name: name) {
            continuation.resume(returning: Result { try body() })
        }
    }
    // What is left of the thread is its own return.
    thread?.join()
    return try outcome.get()
}
