/// Messages that a stream had acknowledged and does not have any more: its sequences were given out again.
///
/// What a power cut takes whose disk was not synced, or a stream restored from an older copy. The messages may have
/// been counted before; what was not is lost.
package struct StreamLoss: Hashable, Sendable {
    package let stream: String
    package let sequences: ClosedRange<UInt64>

    package init(stream: String, sequences: ClosedRange<UInt64>) {
        self.stream = stream
        self.sequences = sequences
    }
}
