/// How a ``StreamReader`` asks for messages, and what bounds it.
package struct ReaderSettings: Sendable {
    /// The most messages of one subject that are asked for at once.
    package var messagesPerRequest = 256
    /// The most bytes of one subject that are asked for at once; at least one message of any
    /// size the server takes is. With ``messagesPerRequest`` this bounds what waits unread.
    package var bytesPerRequest = 4 << 20
    /// How long the server keeps a request open.
    package var requestLimit: Duration = .seconds(30)
    /// How often the server says that there is nothing to deliver; JetStream takes 100 ms at
    /// least and half of ``requestLimit`` at most.
    package var idleHeartbeat: Duration = .seconds(1)
    /// How long a server may be silent while a request is open.
    package var silenceLimit: Duration = .seconds(4)
    /// How long the server keeps a consumer that nobody asks.
    package var inactiveThreshold: Duration = .seconds(60)
    /// How long a request to make a consumer may take.
    package var creationLimit: Duration = .seconds(2)
    /// How long to wait after a failure; doubles ``retryDoublingsMax`` times.
    package var retryPause: Duration = .milliseconds(100)
    package var retryDoublingsMax = 5

    package init() {}
}

/// What a ``StreamReader`` has done since it was made.
package struct ReaderStatistics: Sendable, Equatable {
    package var messages = 0
    package var bytes = 0
    package var consumersCreated = 0
    package var creationsFailed = 0
    /// Consumers given up because a message was missing.
    package var givenUpForGap = 0
    /// Consumers given up because the server was silent.
    package var givenUpForSilence = 0
    /// Consumers given up because they were deleted or refused.
    package var givenUpAsGone = 0
    /// Consumers given up because the connection was lost.
    package var givenUpForReconnect = 0
    /// Subjects whose stream was not the one read before.
    package var halted = 0
    /// Messages of consumers that had been given up; they come again.
    package var messagesStale = 0
    /// Messages that are neither a delivery nor a status.
    package var messagesUnreadable = 0
    /// Messages nobody asked for, dropped at the bound; their consumers are given up.
    package var messagesUnasked = 0

    package init() {}
}

/// How far a subject has been read.
package struct ReaderPosition: Sendable, Equatable {
    /// The first stream sequence that ``StreamReader/next(until:)`` has not returned.
    package let nextSequence: UInt64
    /// When the server last said that everything was delivered; `nil` while something is left,
    /// or when nothing is known.
    package let caughtUpAt: ContinuousClock.Instant?
    /// Set when the stream is not the one that was read before. Reading has stopped; the owner
    /// removes the subject and adds it again from where it finds right.
    ///
    /// A stream that went back and then grew beyond ``nextSequence`` while the reader was
    /// disconnected looks unchanged from here: whoever depends on it compares what it remembers
    /// of older messages whenever ``readingCount`` has changed.
    package let discontinuity: StreamDiscontinuity?
    /// How many consumers were made for the subject: it grows after the messages of an earlier one were returned
    /// and before any of the new one is.
    package let readingCount: Int
}
