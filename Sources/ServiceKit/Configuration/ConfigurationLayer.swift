/// What an operator wrote for one setting, not yet checked.
struct WrittenValue: Sendable, Equatable {
    /// One per occurrence of a flag or element of a sequence.
    var texts: [String]
    /// Of the first occurrence.
    var origin: SettingOrigin
}

/// The settings found in one place, and what is wrong there.
struct ConfigurationLayer: Sendable {
    var values: [String: WrittenValue] = [:]
    /// Settings that are named there, but in a way that gives no value.
    var rejected: Set<String> = []
    /// Whether nothing can be known of what is there.
    var isUnreadable = false
    var problems: [ConfigurationProblem] = []
    /// What is odd but no reason to refuse.
    var warnings: [ConfigurationProblem] = []
}
