internal import CNATS
internal import Synchronization

/// A message received from NATS.
///
/// It owns the library's message and gives it back when the last reference goes. Subject, reply
/// subject and payload are read in place, without a copy, from any thread.
///
/// Safe to share: libnats never changes a message after it was delivered, except that it parses
/// the headers at the first lookup, which therefore happens under a lock.
@safe package final class NATSMessage: @unchecked Sendable {
    private let pointer: OpaquePointer
    private let headerLock = Mutex<Void>(())

    /// Takes ownership of `pointer`.
    init(adopting pointer: OpaquePointer) {
        unsafe self.pointer = pointer
    }

    deinit {
        unsafe natsMsg_Destroy(pointer)
    }

    package var payloadByteCount: Int {
        Int(unsafe natsMsg_GetDataLength(pointer))
    }

    /// Calls `body` with the payload, which is valid for the call only.
    package func withPayload<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try unsafe body(bytes.bytes)
    }

    /// Calls `body` with the payload, which is valid for the call only.
    package func withUnsafePayload<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try unsafe body(bytes)
    }

    package var subject: String {
        unsafe natsMsg_GetSubject(pointer).map { unsafe String(cString: $0) } ?? ""
    }

    package var replySubject: String? {
        unsafe natsMsg_GetReply(pointer).map { unsafe String(cString: $0) }
    }

    /// The first value of the header `name` (case matters), or `nil`.
    package func header(_ name: String) -> String? {
        headerLock.withLock { _ in
            var value: UnsafePointer<CChar>?
            guard unsafe natsMsgHeader_Get(pointer, name, &value) == NATS_OK else { return nil }
            return unsafe value.map { unsafe String(cString: $0) }
        }
    }

    /// When JetStream stored the message, and where; 0 for a message that is not from a store.
    var storedSequence: UInt64 { unsafe natsMsg_GetSequence(pointer) }
    var storedTimestampNanoseconds: Int64 { unsafe natsMsg_GetTime(pointer) }

    private var bytes: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: natsMsg_GetData(pointer), count: payloadByteCount)
    }
}
