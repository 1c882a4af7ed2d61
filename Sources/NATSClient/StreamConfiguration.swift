internal import CNATS

/// What a JetStream stream keeps and how (nats.io documentation, "Streams").
package struct StreamConfiguration: Sendable, Equatable {
    package enum Retention: Sendable { case limits, interest, workQueue }
    package enum Discard: Sendable { case old, new }
    package enum Storage: Sendable { case file, memory }

    package var name: String
    package var description: String?
    package var subjects: [String]
    package var retention = Retention.limits
    package var storage = Storage.file
    package var discard = Discard.old
    package var replicas = 1
    /// -1 means no limit, here and below.
    package var maxBytes: Int64 = -1
    package var maxMessages: Int64 = -1
    package var maxMessagesPerSubject: Int64 = -1
    package var maxMessageBytes: Int32 = -1
    /// Zero keeps messages for ever.
    package var maxAge: Duration = .zero
    /// Whether any replica may answer for single messages.
    package var allowsDirectReads = false
    package var deniesDeletion = false
    package var deniesPurge = false
    package var isSealed = false

    package init(name: String, subjects: [String]) {
        self.name = name
        self.subjects = subjects
    }
}

/// A stream as its server describes it.
package struct StreamInformation: Sendable, Equatable {
    package let configuration: StreamConfiguration
    /// When the stream was made, Unix time; tells a stream from one that replaced it.
    package let createdNanoseconds: Int64
    package let messageCount: UInt64
    package let byteCount: UInt64
    /// Sequence of the oldest message; one more than ``lastSequence`` when the stream is empty.
    package let firstSequence: UInt64
    /// Sequence of the newest message; 0 when there never was one.
    package let lastSequence: UInt64
    package let consumerCount: Int64
    /// Name of the leader in a cluster.
    package let leader: String?
}

extension StreamConfiguration {
    /// Calls `body` with libnats's form of this configuration, valid for the call.
    func withPointer<Result>(_ body: (UnsafeMutablePointer<jsStreamConfig>) -> Result) -> Result {
        unsafe name.withCString { name in
            unsafe withOptionalCString(description) { description in
                unsafe withCStrings(subjects) { subjects, count in
                    var configuration = unsafe jsStreamConfig()
                    _ = unsafe jsStreamConfig_Init(&configuration)
                    unsafe configuration.Name = name
                    unsafe configuration.Description = description
                    unsafe configuration.Subjects = subjects
                    unsafe configuration.SubjectsLen = count
                    unsafe setPlainValues(&configuration)
                    return unsafe body(&configuration)
                }
            }
        }
    }

    private func setPlainValues(_ configuration: inout jsStreamConfig) {
        unsafe configuration.Retention =
            switch retention {
            case .limits: js_LimitsPolicy
            case .interest: js_InterestPolicy
            case .workQueue: js_WorkQueuePolicy
            }
        unsafe configuration.Storage = storage == .file ? js_FileStorage : js_MemoryStorage
        unsafe configuration.Discard = discard == .old ? js_DiscardOld : js_DiscardNew
        unsafe configuration.Replicas = Int64(replicas)
        unsafe configuration.MaxBytes = maxBytes
        unsafe configuration.MaxMsgs = maxMessages
        unsafe configuration.MaxMsgsPerSubject = maxMessagesPerSubject
        unsafe configuration.MaxMsgSize = maxMessageBytes
        unsafe configuration.MaxAge = maxAge.nanosecondsForNATS
        unsafe configuration.AllowDirect = allowsDirectReads
        unsafe configuration.DenyDelete = deniesDeletion
        unsafe configuration.DenyPurge = deniesPurge
        unsafe configuration.Sealed = isSealed
    }

    init(_ configuration: jsStreamConfig) {
        self.init(
            name: unsafe string(configuration.Name) ?? "",
            subjects: (0..<max(0, Int(unsafe configuration.SubjectsLen))).compactMap { index in
                unsafe string(configuration.Subjects?[index])
            })
        description = unsafe string(configuration.Description)
        retention =
            switch unsafe configuration.Retention {
            case js_InterestPolicy: .interest
            case js_WorkQueuePolicy: .workQueue
            default: .limits
            }
        storage = unsafe configuration.Storage == js_MemoryStorage ? .memory : .file
        discard = unsafe configuration.Discard == js_DiscardNew ? .new : .old
        replicas = Int(clamping: unsafe configuration.Replicas)
        maxBytes = unsafe configuration.MaxBytes
        maxMessages = unsafe configuration.MaxMsgs
        maxMessagesPerSubject = unsafe configuration.MaxMsgsPerSubject
        maxMessageBytes = unsafe configuration.MaxMsgSize
        maxAge = .nanoseconds(unsafe configuration.MaxAge)
        allowsDirectReads = unsafe configuration.AllowDirect
        deniesDeletion = unsafe configuration.DenyDelete
        deniesPurge = unsafe configuration.DenyPurge
        isSealed = unsafe configuration.Sealed
    }
}

extension StreamInformation {
    init?(_ information: jsStreamInfo) {
        guard let configuration = unsafe information.Config else { return nil }
        self.configuration = unsafe StreamConfiguration(configuration.pointee)
        createdNanoseconds = unsafe information.Created
        messageCount = unsafe information.State.Msgs
        byteCount = unsafe information.State.Bytes
        firstSequence = unsafe information.State.FirstSeq
        lastSequence = unsafe information.State.LastSeq
        consumerCount = unsafe information.State.Consumers
        leader = unsafe information.Cluster.flatMap { unsafe string($0.pointee.Leader) }
    }
}

func string(_ pointer: UnsafePointer<CChar>?) -> String? {
    unsafe pointer.map { unsafe String(cString: $0) }
}

func string(_ pointer: UnsafeMutablePointer<CChar>?) -> String? {
    unsafe pointer.map { unsafe String(cString: $0) }
}

/// Calls `body` with a C string, or with nothing for `nil`.
func withOptionalCString<Result>(
    _ text: String?, _ body: (UnsafePointer<CChar>?) -> Result
) -> Result {
    guard let text else { return body(nil) }
    return unsafe text.withCString { unsafe body($0) }
}
