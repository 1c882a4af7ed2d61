/// What one check of `probe check` found.
///
/// A pure value; holds no secrets.
package struct CheckFinding: Sendable, Equatable {
    package enum Result: String, Sendable, CaseIterable {
        case ok
        /// The probe works, but not as well as it could.
        case warning
        /// The probe does not do its work until this is mended.
        case failed
        /// Nothing was checked; what was found says why.
        case skipped
    }

    /// What was checked, of a small fixed set: `tls`.
    package let name: String
    /// Of which server, host or target, where there may be several.
    package let subject: String?
    package let result: Result
    /// One line.
    package let found: String
    /// What to do about it, one line; nil when it is well.
    package let advice: String?
    /// How long the check took.
    package var duration: Duration = .zero

    private init(
        _ name: String, _ subject: String?, _ result: Result, _ found: String, _ advice: String?
    ) {
        self.name = name
        self.subject = subject
        self.result = result
        self.found = found
        self.advice = advice
    }

    static func ok(_ name: String, of subject: String? = nil, _ found: String) -> CheckFinding {
        CheckFinding(name, subject, .ok, found, nil)
    }

    static func warning(
        _ name: String, of subject: String? = nil, _ found: String, _ advice: String
    ) -> CheckFinding {
        CheckFinding(name, subject, .warning, found, advice)
    }

    static func failed(
        _ name: String, of subject: String? = nil, _ found: String, _ advice: String
    ) -> CheckFinding {
        CheckFinding(name, subject, .failed, found, advice)
    }

    static func skipped(_ name: String, of subject: String? = nil, _ why: String) -> CheckFinding {
        CheckFinding(name, subject, .skipped, why, nil)
    }
}
