/// One thing that is wrong with a hosts file, or that its writer may not want.
package struct HostsProblem: Sendable, Hashable {
    package enum Severity: Sendable {
        /// Nothing can be deployed from this file.
        case error
        /// It works, but less well than it looks.
        case warning
    }

    package let severity: Severity
    /// The line, counted from 1; nil when it concerns the file as a whole.
    package let line: Int?
    /// What is wrong and what to do about it, in one line.
    package let message: String

    /// An error.
    init(line: Int? = nil, _ message: String) {
        self.init(.error, line: line, message)
    }

    init(_ severity: Severity, line: Int? = nil, _ message: String) {
        self.severity = severity
        self.line = line
        self.message = message
    }

    /// As compilers write it: `hosts:12: warning: …`.
    package func text(file: String) -> String {
        let place = line.map { "\(file):\($0)" } ?? file
        return severity == .warning ? "\(place): warning: \(message)" : "\(place): \(message)"
    }
}

/// All that is wrong with a hosts file.
package struct HostsError: Error, Sendable {
    /// In the order of the lines, those of the whole file last; at least one is an error.
    package let problems: [HostsProblem]
}
