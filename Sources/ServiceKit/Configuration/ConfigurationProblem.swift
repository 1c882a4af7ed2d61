/// Where a value came from.
package enum SettingOrigin: Sendable, Hashable, CustomStringConvertible {
    /// On the command line, as typed: `--listen`.
    case flag(String)
    /// The environment variable.
    case environment(String)
    /// The line of the configuration file, counted from 1.
    case file(path: String, line: Int)
    /// Nobody set it.
    case `default`

    package var description: String {
        switch self {
        case .flag(let name): name
        case .environment(let name): name
        case .file(let path, let line): "\(path):\(line)"
        case .default: "default"
        }
    }
}

/// One thing that is wrong with a configuration, said in one line.
package struct ConfigurationProblem: Sendable, Hashable, CustomStringConvertible {
    /// How the command line was used, or what a value is.
    package enum Category: Sendable { case usage, value }

    package let category: Category
    /// Where it is: `--listen`, `QOE_LISTEN` or `/etc/qoe/ingest.yaml:12: listen`.
    package let place: String
    /// What is wrong and what to write instead. Holds no secrets.
    package let message: String
    /// The line of the file, or 0 if it is elsewhere.
    let line: Int

    package init(
        _ category: Category = .value, place: String, message: String, line: Int = 0
    ) {
        self.line = line
        self.category = category
        self.place = LineEscaping.escaped(place)
        self.message = LineEscaping.escaped(message)
    }

    /// A problem of the named setting's value.
    init(_ setting: String, at origin: SettingOrigin, _ message: String) {
        let place =
            switch origin {
            case .flag(let flag): flag
            case .environment(let name): name
            case .file(let path, let line): "\(path):\(line): \(setting)"
            case .default: setting
            }
        var line = 0
        if case .file(_, let number) = origin { line = number }
        self.init(place: place, message: message, line: line)
    }

    package var description: String { "\(place): \(message)" }
}

/// All that is wrong with a configuration.
package struct ConfigurationError: Error, Sendable, CustomStringConvertible {
    /// At least one.
    package let problems: [ConfigurationProblem]

    package init(_ problems: [ConfigurationProblem]) {
        precondition(!problems.isEmpty)
        self.problems = problems
    }

    package var description: String {
        problems.map(\.description).joined(separator: "\n")
    }
}
