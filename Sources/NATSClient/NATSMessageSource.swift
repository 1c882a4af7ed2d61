internal import CNATS
internal import Synchronization

/// Interest in a subject whose messages are fetched, not handed over: no thread of libnats's stands
/// between its reader and whoever waits.
///
/// Safe to share: libnats locks its subscriptions.
@safe package final class NATSMessageSource: @unchecked Sendable {
    private let pointer: OpaquePointer
    private let closing: ClosingLock

    init(
        connection: OpaquePointer, closing: ClosingLock, subject: String
    ) throws(NATSError) {
        self.closing = closing
        var created: OpaquePointer?
        unsafe try check(
            natsConnection_SubscribeSync(&created, connection, subject),
            "natsConnection_SubscribeSync")
        guard let subscription = unsafe created else {
            preconditionFailure("libnats reported success without a subscription")
        }
        unsafe pointer = subscription
        // Whoever asks for messages bounds them; libnats would drop what is beyond its limits.
        unsafe try check(
            natsSubscription_SetPendingLimits(subscription, -1, -1),
            "natsSubscription_SetPendingLimits")
    }

    deinit {
        closing.lock.withLock { _ in unsafe natsSubscription_Destroy(pointer) }
    }

    /// Waits for a message and returns it with all that are there already. Blocks.
    ///
    /// - Returns: Nothing when `limit` has passed; `nil` after ``cancel()`` or the end of the
    ///   connection.
    package func next(within limit: Duration) -> [NATSMessage]? {
        var first: OpaquePointer?
        switch unsafe natsSubscription_NextMsg(&first, pointer, limit.millisecondsForNATS) {
        case NATS_OK: break
        case NATS_TIMEOUT: return []
        default: return nil
        }
        guard let first = unsafe first else { return [] }
        var messages = unsafe [NATSMessage(adopting: first)]
        var count: UInt64 = 0
        _ = unsafe natsSubscription_QueuedMsgs(pointer, &count)
        for _ in 0..<count {
            var message: OpaquePointer?
            guard unsafe natsSubscription_NextMsg(&message, pointer, 0) == NATS_OK,
                let message = unsafe message
            else { break }
            unsafe messages.append(NATSMessage(adopting: message))
        }
        return messages
    }

    /// Ends the interest and a wait that is under way.
    package func cancel() {
        // Fails only when it is already cancelled or the connection closed.
        closing.lock.withLock { _ in _ = unsafe natsSubscription_Unsubscribe(pointer) }
    }
}
