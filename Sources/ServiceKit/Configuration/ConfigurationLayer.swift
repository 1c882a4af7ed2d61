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
    var problems: [ConfigurationProblem] = []
    /// What is odd but no reason to refuse.
    var warnings: [ConfigurationProblem] = []
}
