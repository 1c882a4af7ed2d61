internal import NATSClient

/// Makes a small stream of a few messages, which old ones leave for new ones, unless it is there.
///
/// It has as many copies as the events have.
func ensureSmallStream(
    named name: String, subject: String, messageCountMax: Int64, on jetStream: JetStream
) throws(NATSError) -> StreamInformation {
    do throws(NATSError) {
        return try jetStream.stream(named: name)
    } catch {
        guard JetStreamErrorCode.streamNotFound ~= error else { throw error }
    }
    var wanted = StreamConfiguration(name: name, subjects: [subject])
    wanted.maxMessages = messageCountMax
    wanted.maxBytes = 1 << 20
    wanted.discard = .old
    wanted.replicas =
        (try? jetStream.stream(named: BusStream.events))?.configuration.replicas ?? 1
    do throws(NATSError) {
        return try jetStream.createStream(wanted)
    } catch {
        guard JetStreamErrorCode.streamNameInUse ~= error else { throw error }
        return try jetStream.stream(named: name)
    }
}
