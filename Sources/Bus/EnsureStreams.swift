package import NATSClient
package import Telemetry

/// Why a service must not start on the streams it found.
package enum StreamError: Error, Sendable, CustomStringConvertible {
    /// Settings that break a promise, each with what to do about it.
    case unfit([StreamProblem])
    /// The server has no room for the stream's limit.
    case noRoom(stream: String, maxBytes: Int64, allStreams: Int64, cause: NATSError)
    /// JetStream is switched off.
    case jetStreamOff(NATSError)
    /// NATS did not answer or refused; `NATSError/isRetriable` says whether to try again.
    case nats(NATSError)

    /// Whether trying again later may help without anybody changing anything.
    package var isRetriable: Bool {
        switch self {
        case .unfit, .noRoom: false
        case .jetStreamOff(let error), .nats(let error): error.isRetriable
        }
    }

    package var description: String {
        switch self {
        case .unfit(let problems):
            problems.map(\.description).joined(separator: "\n")
        case .noRoom(let stream, let maxBytes, let allStreams, let cause):
            "stream \(stream): the NATS server has no room for \(maxBytes) bytes (\(cause)); all "
                + "streams together need \(allStreams): raise max_file_store in the server's "
                + "jetstream block, or lower this service's stream sizes"
        case .jetStreamOff(let cause):
            "JetStream is off (\(cause)): add a jetstream block to the server's configuration; if "
                + "it has one, the server switched it off when its disk was full"
        case .nats(let error):
            error.description
        }
    }

    init(_ error: NATSError, creating configuration: StreamConfiguration, allStreams: Int64) {
        switch error {
        case JetStreamErrorCode.insufficientResources, JetStreamErrorCode.storageResourcesExceeded,
            JetStreamErrorCode.streamMaxBytesExceeded:
            self = .noRoom(
                stream: configuration.name, maxBytes: configuration.maxBytes,
                allStreams: allStreams, cause: error)
        case JetStreamErrorCode.notEnabled, JetStreamErrorCode.notEnabledForAccount,
            NATSError.Code.noResponders:
            self = .jetStreamOff(error)
        default:
            self = .nats(error)
        }
    }
}

/// The platform's streams as they are on the server.
package struct BusStreams: Sendable {
    /// As the events stream records it.
    package let partitioning: Partitioning
    package let events: StreamInformation
    package let heartbeats: StreamInformation
    package let deadLetters: StreamInformation
    package let diagnoses: StreamInformation
}

/// Makes the streams that are missing and checks those that are there. Blocks.
///
/// A stream that is smaller than wanted is grown; nothing else is changed. Two services may do
/// this at once.
///
/// - Throws: ``StreamError`` naming every setting that breaks a promise; the service must not
///   start then.
package func ensureStreams(
    _ settings: StreamSettings, on jetStream: JetStream
) throws(StreamError) -> BusStreams {
    let partitioning = try wantedPartitioning(settings, jetStream)
    let wanted = settings.configurations(partitioning)
    let allStreams = wanted.reduce(0) { $0 + $1.maxBytes }
    var found: [StreamInformation] = []
    var allProblems: [StreamProblem] = []
    for configuration in wanted {
        let information = try ensure(configuration, on: jetStream, allStreams: allStreams)
        allProblems += problems(found: information.configuration, wanted: configuration)
        found.append(information)
    }
    guard allProblems.isEmpty else { throw .unfit(allProblems) }
    return BusStreams(
        partitioning: partitioning, events: found[0], heartbeats: found[1], deadLetters: found[2],
        diagnoses: found[3])
}

private func wantedPartitioning(
    _ settings: StreamSettings, _ jetStream: JetStream
) throws(StreamError) -> Partitioning {
    if let partitioning = settings.partitioning {
        return partitioning
    }
    do throws(NATSError) {
        let events = try jetStream.stream(named: BusStream.events)
        // Subjects that record no count are reported as a problem when they are compared.
        return recordedPartitioning(events.configuration) ?? .standard
    } catch JetStreamErrorCode.streamNotFound {
        return .standard
    } catch {
        throw StreamError(
            error, creating: StreamConfiguration(name: BusStream.events, subjects: []),
            allStreams: 0)
    }
}

private func ensure(
    _ wanted: StreamConfiguration, on jetStream: JetStream, allStreams: Int64
) throws(StreamError) -> StreamInformation {
    do throws(NATSError) {
        let found = try findOrCreate(wanted, on: jetStream)
        let size = found.configuration.maxBytes
        // An unlimited stream is reported instead: its limit would be news to its owner.
        guard size > 0, size < wanted.maxBytes else { return found }
        return try jetStream.setMaxBytes(wanted.maxBytes, ofStream: wanted.name)
    } catch {
        throw StreamError(error, creating: wanted, allStreams: allStreams)
    }
}

private func findOrCreate(
    _ wanted: StreamConfiguration, on jetStream: JetStream
) throws(NATSError) -> StreamInformation {
    do throws(NATSError) {
        return try jetStream.stream(named: wanted.name)
    } catch JetStreamErrorCode.streamNotFound {
        do throws(NATSError) {
            return try jetStream.createStream(wanted)
        } catch JetStreamErrorCode.streamNameInUse {
            // Another service was faster, with other settings, which are compared like any.
            return try jetStream.stream(named: wanted.name)
        }
    }
}
