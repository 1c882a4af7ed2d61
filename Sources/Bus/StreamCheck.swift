package import NATSClient
package import Telemetry

/// A setting of a stream under which the platform's promises would not hold.
package struct StreamProblem: Sendable, Equatable, CustomStringConvertible {
    package let stream: String
    package let setting: String
    package let found: String
    package let wanted: String
    package let advice: String

    package var description: String {
        "stream \(stream): \(setting) is \(found), wanted \(wanted); \(advice)"
    }
}

/// Compares a stream with what the platform needs of it.
///
/// More room, more replicas and settings without bearing on the promises are not problems.
func problems(
    found: StreamConfiguration, wanted: StreamConfiguration
) -> [StreamProblem] {
    var problems: [StreamProblem] = []
    func expect(
        _ holds: Bool, _ setting: String, found foundValue: Any, wanted wantedValue: Any,
        _ advice: String
    ) {
        guard !holds else { return }
        problems.append(
            StreamProblem(
                stream: found.name, setting: setting, found: "\(foundValue)",
                wanted: "\(wantedValue)", advice: advice))
    }
    let remake = "change it, or drain and remove the stream and let this service make it anew"

    if let problem = subjectProblem(found: found, wanted: wanted) {
        problems.append(problem)
    }
    expect(
        found.discard == wanted.discard, "discard policy", found: found.discard,
        wanted: wanted.discard,
        "with it a full stream drops messages that nobody has read; "
            + "nats stream edit \(found.name) --discard=new")
    expect(
        found.maxAge == .zero, "maximum age", found: found.maxAge, wanted: "none",
        "messages would vanish before they are read; nats stream edit \(found.name) --max-age=0")
    expect(
        found.maxMessages == -1, "maximum number of messages", found: found.maxMessages,
        wanted: "none", remake)
    expect(
        found.maxMessagesPerSubject == -1, "maximum number of messages per subject",
        found: found.maxMessagesPerSubject, wanted: "none", remake)
    expect(
        found.maxMessageBytes == -1, "maximum message size", found: found.maxMessageBytes,
        wanted: "none", "blocks of events are large; \(remake)")
    expect(
        found.retention == wanted.retention, "retention policy", found: found.retention,
        wanted: wanted.retention, "it cannot be changed: drain and remove the stream")
    expect(
        found.storage == wanted.storage, "storage", found: found.storage, wanted: wanted.storage,
        "memory does not survive a restart: drain and remove the stream")
    expect(!found.isSealed, "sealed", found: true, wanted: false, "drain and remove the stream")
    expect(
        found.maxBytes > 0, "maximum size", found: "unlimited", wanted: wanted.maxBytes,
        "a disk that runs full switches all of JetStream off; "
            + "nats stream edit \(found.name) --max-bytes=\(wanted.maxBytes)")
    expect(
        found.replicas >= wanted.replicas, "replicas", found: found.replicas,
        wanted: wanted.replicas,
        "nats stream edit \(found.name) --replicas=\(wanted.replicas), or lower the setting")
    return problems
}

private func subjectProblem(
    found: StreamConfiguration, wanted: StreamConfiguration
) -> StreamProblem? {
    guard Set(found.subjects) != Set(wanted.subjects) else { return nil }
    if wanted.name == BusStream.events, let recorded = recordedPartitioning(found) {
        return StreamProblem(
            stream: found.name, setting: "partition count", found: "\(recorded.count)",
            wanted: "\(wanted.subjects.count)",
            advice: "set the service's partition count to \(recorded.count): "
                + "another count would send a client's events to two partitions")
    }
    return StreamProblem(
        stream: found.name, setting: "subjects", found: summary(found.subjects),
        wanted: summary(wanted.subjects),
        advice: "drain and remove the stream and let this service make it anew")
}

private func summary(_ subjects: [String]) -> String {
    let shown = 4
    let rest = subjects.count > shown ? " … (\(subjects.count) in all)" : ""
    return subjects.prefix(shown).joined(separator: ", ") + rest
}

/// The partition count that an events stream records in its subjects; `nil` when they are not
/// `telemetry.events.0` to `telemetry.events.<count - 1>`.
package func recordedPartitioning(_ configuration: StreamConfiguration) -> Partitioning? {
    guard let partitioning = Partitioning(count: configuration.subjects.count) else { return nil }
    let wanted = (0..<partitioning.count).map(BusSubject.events(partition:))
    return Set(configuration.subjects) == Set(wanted) ? partitioning : nil
}
