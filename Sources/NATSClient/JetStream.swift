internal import CNATS

/// A message read from a stream by its sequence.
package struct StoredMessage: Sendable {
    package let sequence: UInt64
    /// When the stream's leader stored it, Unix time.
    package let timestampNanoseconds: Int64
    package let message: NATSMessage

    package var subject: String { message.subject }

    /// Takes ownership of `pointer`.
    init(adopting pointer: OpaquePointer) {
        let message = unsafe NATSMessage(adopting: pointer)
        sequence = message.storedSequence
        timestampNanoseconds = message.storedTimestampNanoseconds
        self.message = message
    }
}

/// Streams, consumers and stored messages of a JetStream system.
///
/// Every call is one request to the server and blocks until the answer or ``timeout``.
package struct JetStream: Sendable {
    private let connection: NATSConnection
    private let timeout: Duration

    package init(_ connection: NATSConnection, timeout: Duration = .seconds(5)) {
        self.connection = connection
        self.timeout = timeout
    }

    /// Describes a stream.
    ///
    /// - Throws: ``JetStreamErrorCode/streamNotFound`` and connection errors.
    package func stream(named name: String) throws(NATSError) -> StreamInformation {
        unsafe try streamInformation("js_GetStreamInfo \(name)") { information, options, code in
            unsafe js_GetStreamInfo(
                information, connection.jetStreamContext, name, options, code)
        }
    }

    /// Makes a stream. Making one that exists with the very same settings succeeds.
    ///
    /// - Throws: ``JetStreamErrorCode/streamNameInUse`` when it exists with other settings.
    package func createStream(
        _ configuration: StreamConfiguration
    ) throws(NATSError) -> StreamInformation {
        unsafe try streamInformation("js_AddStream \(configuration.name)") {
            information, options, code in
            unsafe configuration.withPointer { configuration in
                unsafe js_AddStream(
                    information, connection.jetStreamContext, configuration, options, code)
            }
        }
    }

    /// Changes how many bytes a stream may hold, and nothing else.
    package func setMaxBytes(
        _ maxBytes: Int64, ofStream name: String
    ) throws(NATSError) -> StreamInformation {
        var found: UnsafeMutablePointer<jsStreamInfo>?
        defer { unsafe jsStreamInfo_Destroy(found) }
        unsafe try call("js_GetStreamInfo \(name)") { options, code in
            unsafe js_GetStreamInfo(&found, connection.jetStreamContext, name, options, code)
        }
        // What the server answered goes back, so that settings this code does not know survive.
        guard let configuration = unsafe found?.pointee.Config else {
            throw emptyAnswer("js_GetStreamInfo")
        }
        unsafe configuration.pointee.MaxBytes = maxBytes
        return unsafe try streamInformation("js_UpdateStream \(name)") {
            information, options, code in
            unsafe js_UpdateStream(
                information, connection.jetStreamContext, configuration, options, code)
        }
    }

    package func deleteStream(named name: String) throws(NATSError) {
        unsafe try call("js_DeleteStream \(name)") { options, code in
            unsafe js_DeleteStream(connection.jetStreamContext, name, options, code)
        }
    }

    /// Removes every message whose sequence is less than `sequence`.
    package func purgeStream(named name: String, below sequence: UInt64) throws(NATSError) {
        unsafe try call("js_PurgeStream \(name)") { options, code in
            unsafe options.pointee.Stream.Purge.Sequence = sequence
            return unsafe js_PurgeStream(connection.jetStreamContext, name, options, code)
        }
    }

    /// Reads one message from the stream's leader.
    ///
    /// - Throws: ``JetStreamErrorCode/messageNotFound`` when the sequence was removed or is not
    ///   yet there.
    package func message(
        inStream stream: String, sequence: UInt64
    ) throws(NATSError) -> StoredMessage {
        var found: OpaquePointer?
        unsafe try call("js_GetMsg \(stream) \(sequence)") { options, code in
            unsafe js_GetMsg(
                &found, connection.jetStreamContext, stream, sequence, options, code)
        }
        guard let pointer = unsafe found else { throw emptyAnswer("js_GetMsg") }
        return unsafe StoredMessage(adopting: pointer)
    }

    /// Reads the newest message of a subject from the stream's leader.
    ///
    /// - Throws: ``JetStreamErrorCode/messageNotFound`` when the stream holds none.
    package func lastMessage(
        inStream stream: String, subject: String
    ) throws(NATSError) -> StoredMessage {
        var found: OpaquePointer?
        unsafe try call("js_GetLastMsg \(stream) \(subject)") { options, code in
            unsafe js_GetLastMsg(
                &found, connection.jetStreamContext, stream, subject, options, code)
        }
        guard let pointer = unsafe found else { throw emptyAnswer("js_GetLastMsg") }
        return unsafe StoredMessage(adopting: pointer)
    }

    package func createConsumer(
        _ configuration: ConsumerConfiguration, onStream stream: String
    ) throws(NATSError) -> ConsumerInformation {
        var created: UnsafeMutablePointer<jsConsumerInfo>?
        defer { unsafe jsConsumerInfo_Destroy(created) }
        unsafe try call("js_AddConsumer \(stream)") { options, code in
            unsafe configuration.withPointer { configuration in
                unsafe js_AddConsumer(
                    &created, connection.jetStreamContext, stream, configuration, options, code)
            }
        }
        guard let information = unsafe created else { throw emptyAnswer("js_AddConsumer") }
        return unsafe ConsumerInformation(information.pointee)
    }

    /// - Throws: ``JetStreamErrorCode/consumerNotFound`` when it is gone already.
    package func deleteConsumer(
        named name: String, onStream stream: String
    ) throws(NATSError) {
        unsafe try call("js_DeleteConsumer \(name)") { options, code in
            unsafe js_DeleteConsumer(connection.jetStreamContext, stream, name, options, code)
        }
    }

    private typealias ErrorCodePointer = UnsafeMutablePointer<jsErrCode>
    private typealias OptionsPointer = UnsafeMutablePointer<jsOptions>

    private func call(
        _ name: String, _ body: (OptionsPointer, ErrorCodePointer) -> natsStatus
    ) throws(NATSError) {
        var options = unsafe jsOptions()
        _ = unsafe jsOptions_Init(&options)
        unsafe options.Wait = timeout.millisecondsForNATS
        var errorCode = jsErrCode(rawValue: 0)
        let status = unsafe body(&options, &errorCode)
        try check(status, name, jetStream: errorCode)
    }

    private func streamInformation(
        _ name: String,
        _ body: (
            UnsafeMutablePointer<UnsafeMutablePointer<jsStreamInfo>?>, OptionsPointer,
            ErrorCodePointer
        ) -> natsStatus
    ) throws(NATSError) -> StreamInformation {
        var answer: UnsafeMutablePointer<jsStreamInfo>?
        defer { unsafe jsStreamInfo_Destroy(answer) }
        unsafe try call(name) { options, code in
            unsafe body(&answer, options, code)
        }
        guard let information = unsafe answer.flatMap({ unsafe StreamInformation($0.pointee) })
        else { throw emptyAnswer(name) }
        return information
    }

    private func emptyAnswer(_ call: String) -> NATSError {
        NATSError(code: .protocolError, call: call, text: "the server's answer is empty")
    }
}
