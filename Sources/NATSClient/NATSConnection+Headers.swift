internal import CNATS

extension NATSConnection {
    /// Sends a request with headers and waits for one answer. Blocks.
    ///
    /// - Parameter headers: Names and values without line breaks, in order.
    package func request(
        _ subject: String, payload: [UInt8], headers: [(name: String, value: String)],
        timeout: Duration
    ) throws(NATSError) -> NATSMessage {
        guard let count = Int32(exactly: payload.count) else {
            throw NATSError(
                code: .maxPayload, call: "natsMsg_Create",
                text: "a payload of \(payload.count) bytes is beyond any server's limit")
        }
        var message: OpaquePointer?
        let created = unsafe payload.withUnsafeBytes { bytes in
            unsafe natsMsg_Create(
                &message, subject, nil, bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
                count)
        }
        try check(created, "natsMsg_Create")
        defer { unsafe natsMsg_Destroy(message) }
        for (name, value) in headers {
            unsafe try check(natsMsgHeader_Set(message, name, value), "natsMsgHeader_Set \(name)")
        }
        var reply: OpaquePointer?
        unsafe try check(
            natsConnection_RequestMsg(&reply, pointer, message, timeout.millisecondsForNATS),
            "natsConnection_RequestMsg to \(subject)")
        guard let reply = unsafe reply else {
            throw NATSError(
                code: .generic, call: "natsConnection_RequestMsg", text: "no answer and no error")
        }
        return unsafe NATSMessage(adopting: reply)
    }
}
