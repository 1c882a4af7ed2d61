/// Why a deployment ended before its end: where, and what to do about it.
package struct DeploymentFailure: Error, Sendable, CustomStringConvertible {
    /// A line each.
    package let problems: [String]
    /// What the machines said last, if that helps.
    package let details: [String]

    package init(_ problems: [String], details: [String] = []) {
        self.problems = problems
        self.details = details
    }

    init(_ error: RemoteError) { self.init([error.description]) }

    package var description: String { (problems + details).joined(separator: "\n") }
}

/// What goes on, for whoever looks on.
package enum DeploymentEvent: Sendable {
    /// Work on something began, by the name under which it ends.
    case began(String)
    /// It is done; how long it took.
    case ended(String, Duration)
    case note(String)
}
