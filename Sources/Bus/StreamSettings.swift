internal import NATSClient
package import Telemetry

/// How the platform's streams are made.
///
/// The sizes are limits on disk, not reservations of free space, but nats-server refuses a stream
/// when the limits of all streams together exceed its `max_file_store`. The defaults need 9.5 GiB.
package struct StreamSettings: Sendable {
    /// How many partitions the events stream shall have; `nil` takes what it has, and
    /// ``Partitioning/standard`` for a new one.
    package var partitioning: Partitioning?
    /// Copies of each stream: 1 on one server, 3 in a cluster.
    package var replicas = 1
    /// About 100 million events in blocks: hours of outage behind the bus at high load.
    package var eventsByteCountMax: Int64 = 8 << 30
    package var heartbeatsByteCountMax: Int64 = 256 << 20
    package var deadLettersByteCountMax: Int64 = 1 << 30
    package var diagnosesByteCountMax: Int64 = 256 << 20

    package init(partitioning: Partitioning? = nil) {
        self.partitioning = partitioning
    }
}

extension StreamSettings {
    /// The configuration of every stream, for a number of partitions.
    ///
    /// Discard new: a full stream refuses, and the sender keeps and repeats; it never eats what
    /// has not been aggregated. No age limit for the same reason: what is no longer needed is
    /// purged by whoever knows that.
    func configurations(_ partitioning: Partitioning) -> [StreamConfiguration] {
        [
            configuration(
                BusStream.events,
                // Listed one by one: the list is the record of the partition count, on every
                // version of the server, and a publish beyond it finds no stream.
                subjects: (0..<partitioning.count).map(BusSubject.events(partition:)),
                maxBytes: eventsByteCountMax),
            configuration(
                BusStream.heartbeats, subjects: [BusSubject.heartbeats],
                maxBytes: heartbeatsByteCountMax),
            configuration(
                BusStream.deadLetters, subjects: [BusSubject.allDeadLetters],
                maxBytes: deadLettersByteCountMax),
            configuration(
                BusStream.diagnoses, subjects: [BusSubject.diagnoses],
                maxBytes: diagnosesByteCountMax),
        ]
    }

    private func configuration(
        _ name: String, subjects: [String], maxBytes: Int64
    ) -> StreamConfiguration {
        var configuration = StreamConfiguration(name: name, subjects: subjects)
        configuration.storage = .file
        configuration.retention = .limits
        configuration.discard = .new
        configuration.replicas = replicas
        configuration.maxBytes = maxBytes
        configuration.allowsDirectReads = true
        return configuration
    }
}
