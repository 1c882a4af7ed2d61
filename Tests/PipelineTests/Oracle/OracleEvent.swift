/// An event as the oracle sees it, whether it comes from the op log or from the stream.
struct OracleEvent: Hashable {
    var eventID: String
    var client: String
    var target: String
    var measuredAtMilliseconds: Int64
    /// Nil where the op log cannot know which copy came first.
    var receivedAtMilliseconds: Int64?
    /// Position in ``Sample/metrics`` to millionths.
    var millionths: [Int: Int64]
    var errorStage: String?
    var context: SampleContext
    var numbered: Sample.Numbered?

    /// What makes it the same event: its number in its session, or its identifier.
    var identity: String {
        if let numbered { return "\(client)|\(numbered.session)|\(numbered.number)" }
        return "\(client)|\(eventID)"
    }
}

extension OracleEvent {
    init(_ sample: Sample) {
        self.init(
            eventID: sample.eventID, client: sample.client, target: sample.target,
            measuredAtMilliseconds: sample.measuredAtMilliseconds,
            millionths: sample.thousandths.mapValues { $0 * 1000 },
            errorStage: sample.errorStage, context: sample.context ?? SampleContext(),
            numbered: sample.numbered)
    }
}
