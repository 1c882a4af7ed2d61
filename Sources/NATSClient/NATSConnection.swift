internal import CNATS
internal import Synchronization

/// What happened to a connection.
package enum NATSConnectionEvent: Sendable {
    /// ``NATSConnector`` made a new connection.
    case connected
    /// ``NATSConnector`` could not connect; it tries again if the error can pass.
    case connectFailed(NATSError)
    /// The server is gone; libnats tries to come back.
    case disconnected
    /// The connection is back, with all its subscriptions.
    case reconnected
    /// The connection is gone for ever: it was closed, or the server refused our credentials.
    case closed
    /// The server or libnats reports an error that did not end the connection.
    case error(NATSError)
}

/// A connection to a NATS system, which reconnects by itself.
///
/// It ends at ``close(flushTimeout:)``, at the end of the last reference, or for ever when the
/// server refuses the credentials twice in a row; ``NATSConnector`` covers the last case and the
/// first connect. All calls are thread-safe. Those that wait are marked "blocks" and belong on
/// an owned thread.
///
/// Safe to share: libnats locks its connections and JetStream contexts.
@safe package final class NATSConnection: @unchecked Sendable {
    package enum Status: Sendable {
        case disconnected, connecting, connected, closed, reconnecting, draining
    }

    let pointer: OpaquePointer
    /// libnats's JetStream context of this connection.
    let jetStreamContext: OpaquePointer
    let inboxPrefix: String
    private let callbackIdentifier: Int
    private let closing = ClosingLock()

    /// Makes one attempt to connect to one of the servers. Blocks.
    ///
    /// - Parameter onEvent: Called on libnats's one thread for such calls, in order; it must not
    ///   block, or events of every connection of the process wait.
    package init(
        _ options: NATSOptions,
        onEvent: @escaping @Sendable (NATSConnectionEvent) -> Void = { _ in }
    ) throws(NATSError) {
        let callbackIdentifier = eventHandlers.add(onEvent)
        var connection: OpaquePointer?
        var context: OpaquePointer?
        do throws(NATSError) {
            unsafe try options.withPointer(
                callbacks: { unsafe setCallbacks($0, callbackIdentifier) },
                { (options) throws(NATSError) in
                    unsafe try check(
                        natsConnection_Connect(&connection, options), "natsConnection_Connect")
                })
            unsafe try check(
                natsConnection_JetStream(&context, connection, nil), "natsConnection_JetStream")
        } catch {
            eventHandlers.remove(callbackIdentifier)
            unsafe natsConnection_Destroy(connection)
            throw error
        }
        guard let connection = unsafe connection, let context = unsafe context else {
            preconditionFailure("libnats reported success without a connection")
        }
        unsafe self.pointer = connection
        unsafe self.jetStreamContext = context
        inboxPrefix = options.inboxPrefix
        self.callbackIdentifier = callbackIdentifier
    }

    deinit {
        unsafe jsCtx_Destroy(jetStreamContext)
        closing.lock.withLock { _ in unsafe natsConnection_Destroy(pointer) }
        eventHandlers.remove(callbackIdentifier)
    }

    package var status: Status {
        switch unsafe natsConnection_Status(pointer) {
        case NATS_CONN_STATUS_CONNECTED: .connected
        case NATS_CONN_STATUS_CONNECTING: .connecting
        case NATS_CONN_STATUS_RECONNECTING: .reconnecting
        case NATS_CONN_STATUS_CLOSED: .closed
        case NATS_CONN_STATUS_DRAINING_SUBS, NATS_CONN_STATUS_DRAINING_PUBS: .draining
        default: .disconnected
        }
    }

    package var isConnected: Bool { status == .connected }

    /// The largest payload the server takes, in bytes.
    package var maxPayloadBytes: Int {
        Int(clamping: unsafe natsConnection_GetMaxPayload(pointer))
    }

    /// The URL of the server this connection talks to, without credentials; `nil` when to none.
    package var connectedURL: String? {
        var buffer = [CChar](repeating: 0, count: 512)
        let status = unsafe natsConnection_GetConnectedUrl(pointer, &buffer, buffer.count)
        guard status == NATS_OK else { return nil }
        let url = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return String(decoding: url, as: UTF8.self).withoutUserInfo
    }

    /// Hands `payload` to the socket, without waiting for anybody to receive it.
    ///
    /// While the connection is lost nothing should be published: see
    /// ``NATSOptions/reconnectBufferBytes``. May block for ``NATSOptions/writeDeadline`` when the
    /// socket's buffers are full.
    package func publish(
        _ payload: UnsafeRawBufferPointer, to subject: String, replyTo reply: String? = nil
    ) throws(NATSError) {
        guard let count = Int32(exactly: payload.count) else {
            throw NATSError(
                code: .maxPayload, call: "natsConnection_Publish",
                text: "a payload of \(payload.count) bytes is beyond any server's limit")
        }
        if let reply {
            unsafe try check(
                natsConnection_PublishRequest(
                    pointer, subject, reply, payload.baseAddress, count),
                "natsConnection_PublishRequest")
        } else {
            unsafe try check(
                natsConnection_Publish(pointer, subject, payload.baseAddress, count),
                "natsConnection_Publish")
        }
    }

    /// Hands `payload` to the socket; see ``publish(_:to:replyTo:)``.
    package func publish(
        _ payload: [UInt8], to subject: String, replyTo reply: String? = nil
    ) throws(NATSError) {
        let result = unsafe payload.withUnsafeBytes { bytes in
            Result { () throws(NATSError) in
                unsafe try publish(bytes, to: subject, replyTo: reply)
            }
        }
        try result.get()
    }

    /// Subscribes to `subject`, which may hold wildcards.
    ///
    /// `handler` runs on a thread that libnats owns for this subscription. It must only enqueue
    /// the message and return. Nothing is dropped on the client's side, so whoever makes messages
    /// come must bound them. The subscription survives reconnects.
    package func subscribe(
        _ subject: String, handler: @escaping @Sendable (NATSMessage) -> Void
    ) throws(NATSError) -> NATSSubscription {
        unsafe try NATSSubscription(
            connection: pointer, closing: closing, subject: subject, handler: handler)
    }

    /// Sends a request and waits for one answer. Blocks.
    package func request(
        _ subject: String, payload: [UInt8], timeout: Duration
    ) throws(NATSError) -> NATSMessage {
        guard let count = Int32(exactly: payload.count) else {
            throw NATSError(
                code: .maxPayload, call: "natsConnection_Request",
                text: "a payload of \(payload.count) bytes is beyond any server's limit")
        }
        var reply: OpaquePointer?
        let status = unsafe payload.withUnsafeBytes { bytes in
            unsafe natsConnection_Request(
                &reply, pointer, subject, bytes.baseAddress, count, timeout.millisecondsForNATS)
        }
        try check(status, "natsConnection_Request to \(subject)")
        guard let reply = unsafe reply else {
            throw NATSError(
                code: .generic, call: "natsConnection_Request", text: "no answer and no error")
        }
        return unsafe NATSMessage(adopting: reply)
    }

    /// Waits until the server has processed everything sent so far. Blocks.
    package func flush(timeout: Duration) throws(NATSError) {
        unsafe try check(
            natsConnection_FlushTimeout(pointer, timeout.millisecondsForNATS),
            "natsConnection_FlushTimeout")
    }

    /// Sends what is buffered, then ends the connection and its subscriptions. Blocks.
    ///
    /// `natsConnection_Close` alone loses buffered data before libnats 3.13.
    package func close(flushTimeout: Duration = .seconds(2)) {
        if isConnected {
            // Closing goes on: whoever needs an acknowledgement has waited for it before.
            try? flush(timeout: flushTimeout)
        }
        closing.lock.withLock { _ in unsafe natsConnection_Close(pointer) }
    }

    /// Frees what libnats keeps for the calling thread. An owned thread that made calls of this
    /// type does this last.
    package static func releaseThreadMemory() {
        nats_ReleaseThreadMemory()
    }
}

extension String {
    /// `nats://user:secret@host:4222` becomes `nats://host:4222`.
    var withoutUserInfo: String {
        guard let scheme = firstRange(of: "://"), let at = lastIndex(of: "@"), at > scheme else {
            return self
        }
        return String(self[..<scheme] + self[index(after: at)...])
    }

    private func firstRange(of text: String) -> Index? {
        var position = startIndex
        while position < endIndex {
            if self[position...].hasPrefix(text) {
                return index(position, offsetBy: text.count)
            }
            position = index(after: position)
        }
        return nil
    }
}

/// Handlers of connection events by number.
///
/// libnats gets the number, not a pointer: its event thread may still hold a call for a
/// connection that failed to connect or is gone, and a number that nobody knows is harmless.
private final class EventHandlers: Sendable {
    private struct State {
        var next = 1
        var handlers: [Int: @Sendable (NATSConnectionEvent) -> Void] = [:]
    }

    private let state = Mutex(State())

    func add(_ handler: @escaping @Sendable (NATSConnectionEvent) -> Void) -> Int {
        state.withLock { state in
            let number = state.next
            state.next += 1
            state.handlers[number] = handler
            return number
        }
    }

    func remove(_ number: Int) {
        state.withLock { $0.handlers[number] = nil }
    }

    func call(_ closure: UnsafeMutableRawPointer?, _ event: NATSConnectionEvent) {
        let number = Int(bitPattern: closure)
        let handler = state.withLock { $0.handlers[number] }
        handler?(event)
    }
}

private let eventHandlers = EventHandlers()

private func setCallbacks(_ options: OpaquePointer, _ identifier: Int) -> natsStatus {
    let closure = unsafe UnsafeMutableRawPointer(bitPattern: identifier)
    var status = unsafe natsOptions_SetDisconnectedCB(
        options, { unsafe eventHandlers.call($1, .disconnected) }, closure)
    if status == NATS_OK {
        status = unsafe natsOptions_SetReconnectedCB(
            options, { unsafe eventHandlers.call($1, .reconnected) }, closure)
    }
    if status == NATS_OK {
        status = unsafe natsOptions_SetClosedCB(
            options, { unsafe eventHandlers.call($1, .closed) }, closure)
    }
    if status == NATS_OK {
        status = unsafe natsOptions_SetErrorHandler(
            options,
            { connection, _, status, closure in
                var text: UnsafePointer<CChar>?
                _ = unsafe natsConnection_GetLastError(connection, &text)
                let statusText = unsafe text ?? natsStatus_GetText(status)
                let error = NATSError(
                    code: NATSError.Code(status), call: "connection",
                    text: unsafe statusText.map { unsafe String(cString: $0) } ?? "")
                unsafe eventHandlers.call(closure, .error(error))
            }, closure)
    }
    return status
}
