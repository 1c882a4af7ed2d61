internal import CNATS
internal import Synchronization

/// Interest in a subject, until ``cancel()`` or the end of the last reference.
///
/// Safe to share: libnats locks its subscriptions.
@safe package final class NATSSubscription: @unchecked Sendable {
    private let pointer: OpaquePointer
    private let closing: ClosingLock

    /// Subscribes and hands every message to `handler` on a thread of libnats's own.
    ///
    /// The box around the handler is kept until libnats says that it made the last call
    /// (`natsSubscription_SetOnCompleteCB`): unsubscribing from another thread does not wait for
    /// a call that is under way.
    init(
        connection: OpaquePointer, closing: ClosingLock, subject: String,
        handler: @escaping @Sendable (NATSMessage) -> Void
    ) throws(NATSError) {
        self.closing = closing
        let box = unsafe Unmanaged.passRetained(HandlerBox(handler)).toOpaque()
        var created: OpaquePointer?
        let status = unsafe natsConnection_Subscribe(
            &created, connection, subject,
            { _, _, pointer, closure in
                guard let pointer = unsafe pointer, let closure = unsafe closure else { return }
                let message = unsafe NATSMessage(adopting: pointer)
                unsafe Unmanaged<HandlerBox>.fromOpaque(closure).takeUnretainedValue()
                    .handler(message)
            }, box)
        guard status == NATS_OK, let subscription = unsafe created else {
            let error = lastError(status, "natsConnection_Subscribe")
            // The server never heard of it, so no message can be on its way to the box.
            unsafe Unmanaged<HandlerBox>.fromOpaque(box).release()
            throw error
        }
        unsafe pointer = subscription
        let completes = unsafe natsSubscription_SetOnCompleteCB(
            subscription,
            { closure in
                guard let closure = unsafe closure else { return }
                unsafe Unmanaged<HandlerBox>.fromOpaque(closure).release()
            }, box)
        // Refused only when the connection was closed in between: the box then stays for good,
        // since nothing says whether a call is under way.
        try check(completes, "natsSubscription_SetOnCompleteCB")
        // Whoever asks for messages bounds them; libnats would drop what is beyond its limits.
        unsafe try check(
            natsSubscription_SetPendingLimits(subscription, -1, -1),
            "natsSubscription_SetPendingLimits")
    }

    deinit {
        closing.lock.withLock { _ in unsafe natsSubscription_Destroy(pointer) }
    }

    /// Ends the interest. A call of the handler that is under way goes on.
    package func cancel() {
        // Fails only when it is already cancelled or the connection closed.
        closing.lock.withLock { _ in _ = unsafe natsSubscription_Unsubscribe(pointer) }
    }
}

/// Keeps the end of a connection and the ends of its subscriptions apart.
///
/// A connection that closes looks at its subscriptions without holding on to them, and uses freed memory when one ends
/// meanwhile (nats-io/nats.c #924, seen with 3.4.1).
final class ClosingLock: Sendable {
    let lock = Mutex(())
}

private final class HandlerBox: Sendable {
    let handler: @Sendable (NATSMessage) -> Void

    init(_ handler: @escaping @Sendable (NATSMessage) -> Void) {
        self.handler = handler
    }
}
