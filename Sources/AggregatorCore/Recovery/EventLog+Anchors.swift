internal import Windowing

extension EventLog {
    /// Throws unless the log, which holds `extent`, still has the messages that are known of it.
    ///
    /// What was removed from the log of `createdNanoseconds` cannot be compared, and is believed.
    func require(
        _ known: [LogAnchor], in extent: LogExtent, createdNanoseconds: Int64
    ) throws(EventLogError) {
        let isSameLog = extent.createdNanoseconds == createdNanoseconds
        for known in known {
            if isSameLog, known.sequence < extent.firstSequence { continue }
            guard try anchor(at: known.sequence) == known else {
                throw EventLogError("message \(known.sequence) is another one than before")
            }
        }
    }
}
