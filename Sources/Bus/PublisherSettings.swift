package import Telemetry

/// How a ``BlockPublisher`` gathers and sends, and what bounds it.
package struct PublisherSettings: Sendable {
    /// As the events stream has it.
    package var partitioning: Partitioning
    /// The size a block never exceeds, bytes; lowered to what the server takes.
    package var blockByteCountMax = 256 << 10
    /// How many blocks of one partition may be without an acknowledgement. More of them make
    /// smaller blocks; fewer leave the connection idle while one is on its way.
    package var blocksInFlightMax = 2
    /// How many heartbeats may be without an acknowledgement.
    package var messagesInFlightMax = 256
    /// What may be open, waiting and in flight over all partitions, bytes. At the bound appends
    /// are refused as overloaded.
    package var byteCountMax = 256 << 20
    /// How long JetStream may take to acknowledge.
    package var acknowledgementLimit: Duration = .seconds(5)

    package init(partitioning: Partitioning = .standard) {
        self.partitioning = partitioning
    }
}

/// What a ``BlockPublisher`` has done since its start.
package struct PublisherStatistics: Sendable, Equatable {
    /// Blocks of events and single messages handed to the connection.
    package var blocksSent = 0
    package var bytesSent = 0
    /// Events and single messages that JetStream has acknowledged.
    package var eventsAcknowledged = 0
    package var blocksAcknowledged = 0
    package var blocksTimedOut = 0
    package var blocksRefused = 0
    /// Given up because the connection was lost.
    package var blocksDisconnected = 0
    /// Appends refused at the bound of waiting bytes.
    package var refusedOverloaded = 0
    /// Appends refused without a connection.
    package var refusedUnavailable = 0
    /// Events that fit into no block.
    package var refusedTooLarge = 0
    /// Acknowledgements of blocks that were given up before.
    package var answersLate = 0
    /// Answers that are not JetStream's.
    package var answersUnreadable = 0
    /// How often a stream gave out sequences again that it had acknowledged before.
    package var streamLosses = 0
    /// Open, waiting and in flight now, bytes.
    package var byteCount = 0
}
