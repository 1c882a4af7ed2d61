internal import CNATS

/// An ephemeral pull consumer that needs no acknowledgements and keeps its state in memory.
///
/// The one kind of consumer we use: the reader's own progress decides where it starts, so there
/// is no second record of progress on the server that could disagree.
package struct ConsumerConfiguration: Sendable {
    package var name: String
    /// The first stream sequence to deliver.
    package var startSequence: UInt64
    /// Delivers only messages of this subject; `nil` delivers all.
    package var filterSubject: String?
    /// How long the server keeps the consumer when nobody pulls.
    package var inactiveThreshold: Duration = .seconds(60)

    package init(name: String, startSequence: UInt64, filterSubject: String? = nil) {
        self.name = name
        self.startSequence = startSequence
        self.filterSubject = filterSubject
    }
}

/// A consumer as its server describes it.
package struct ConsumerInformation: Sendable, Equatable {
    package let name: String
    package let stream: String
    /// How many messages it has still to deliver.
    package let pendingCount: UInt64
}

extension ConsumerConfiguration {
    func withPointer<Result>(
        _ body: (UnsafeMutablePointer<jsConsumerConfig>) -> Result
    ) -> Result {
        unsafe name.withCString { name in
            unsafe withOptionalCString(filterSubject) { filterSubject in
                var configuration = unsafe jsConsumerConfig()
                _ = unsafe jsConsumerConfig_Init(&configuration)
                unsafe configuration.Name = name
                unsafe configuration.FilterSubject = filterSubject
                unsafe configuration.DeliverPolicy = js_DeliverByStartSequence
                // JetStream counts from 1 and refuses 0.
                unsafe configuration.OptStartSeq = max(startSequence, 1)
                unsafe configuration.AckPolicy = js_AckNone
                unsafe configuration.ReplayPolicy = js_ReplayInstant
                unsafe configuration.InactiveThreshold = inactiveThreshold.nanosecondsForNATS
                unsafe configuration.Replicas = 1
                unsafe configuration.MemoryStorage = true
                return unsafe body(&configuration)
            }
        }
    }
}

extension ConsumerInformation {
    init(_ information: jsConsumerInfo) {
        name = unsafe string(information.Name) ?? ""
        stream = unsafe string(information.Stream) ?? ""
        pendingCount = unsafe information.NumPending
    }
}
