/// One measurement of one target by one probe.
package struct Event: Hashable, Sendable {
    /// The schema version this platform writes.
    package static let schemaVersion = 1

    /// Made by the probe, the same on a retry.
    package var id: UniqueID
    package var clientID: Name
    package var target: Name
    /// When it was measured by the probe's clock, Unix milliseconds.
    package var measuredAtMilliseconds: Int64
    package var context: NetworkContext
    package var metrics: MetricSet
    /// The stage that failed; nil when the measurement succeeded.
    package var errorStage: ErrorStage?
    /// The probe's run and the event's number in it; nil from clients that do not number.
    package var sequence: SessionSequence?

    package init(
        id: UniqueID, clientID: Name, target: Name, measuredAtMilliseconds: Int64,
        context: NetworkContext = NetworkContext(), metrics: MetricSet = MetricSet(),
        errorStage: ErrorStage? = nil, sequence: SessionSequence? = nil
    ) {
        self.id = id
        self.clientID = clientID
        self.target = target
        self.measuredAtMilliseconds = measuredAtMilliseconds
        self.context = context
        self.metrics = metrics
        self.errorStage = errorStage
        self.sequence = sequence
    }
}

/// The number of an event within one run of a probe.
package struct SessionSequence: Hashable, Sendable {
    /// New at every start of the probe.
    package var session: UniqueID
    /// Counts 1, 2, 3…; at most ``maximumNumber``.
    package var number: UInt64

    /// 2^53: the largest integer that every JSON implementation carries exactly (RFC 8259, section 6).
    package static let maximumNumber: UInt64 = 1 << 53

    package init(session: UniqueID, number: UInt64) {
        self.session = session
        self.number = number
    }
}
