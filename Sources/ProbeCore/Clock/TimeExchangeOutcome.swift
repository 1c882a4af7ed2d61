/// What became of an attempt to learn ingest's time.
package enum TimeExchangeOutcome: String, Sendable, CaseIterable {
    /// It fits what is known, and counts.
    case agreed
    /// It does not, and is set apart.
    case contradicted
    /// It and those before it have replaced what was known.
    case replaced
    /// Its times cannot be.
    case unusable
    /// The server does not tell the time.
    case unsupported
    /// There was no answer, or none of ingest's.
    case failed
}
