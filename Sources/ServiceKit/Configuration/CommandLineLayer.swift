internal import Spelling

/// What a command line asks for other than running.
package enum CommandLineAction: String, CaseIterable, Sendable {
    case help
    case helpMarkdown = "help-markdown"
    case version
    case printConfig = "print-config"
    case checkConfig = "check-config"

    var help: String {
        switch self {
        case .help: "Print this text and exit."
        case .helpMarkdown: "Print the settings as a Markdown table and exit."
        case .version: "Print the version of the program and of its parts and exit."
        case .printConfig:
            "Print the effective configuration as YAML, each value with its origin, secrets"
                + " masked, and exit."
        case .checkConfig: "Check the whole configuration, print every problem, and exit."
        }
    }
}

/// The command line, taken apart.
struct CommandLineLayer: Sendable {
    var layer = ConfigurationLayer()
    /// The first action named, help before all others.
    var action: CommandLineAction?

    /// Reads `--name value`, `--name=value`, bare `--name` and `--no-name` for booleans.
    ///
    /// - Parameter arguments: Without the program's own name.
    init(arguments: [String], settings: [Setting]) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "-h" {
                action = .help
                continue
            }
            guard argument.hasPrefix("--"), argument.count > 2 else {
                usageProblem(
                    at: "'\(argument.prefix(Self.longestQuotation))'",
                    "is not expected here; settings are given as --name value")
                continue
            }
            let body = argument.dropFirst(2)
            let name = String(body.prefix { $0 != "=" })
            let attached = body.count > name.count ? String(body.dropFirst(name.count + 1)) : nil
            if let found = CommandLineAction(rawValue: name) {
                if attached != nil { usageProblem(at: "--\(name)", "takes no value") }
                if action == nil || found == .help { action = found }
            } else if let setting = settings.first(where: { $0.name == name }) {
                read(setting, attached: attached, rest: &rest)
            } else if let setting = Self.negated(name, in: settings) {
                if attached != nil { usageProblem(at: "--\(name)", "takes no value") }
                add("false", to: setting, flag: "--\(name)")
            } else {
                unknown(name, settings: settings)
                // What follows an unknown flag is most likely its value, not another mistake.
                if attached == nil, let next = rest.first, !next.hasPrefix("-") {
                    rest.removeFirst()
                }
            }
        }
    }

    private mutating func read(
        _ setting: Setting, attached: String?, rest: inout ArraySlice<String>
    ) {
        if let attached {
            add(attached, to: setting, flag: setting.flag)
        } else if setting.kind == .boolean {
            add("true", to: setting, flag: setting.flag)
        } else if let next = rest.first, !next.hasPrefix("--") {
            rest.removeFirst()
            add(next, to: setting, flag: setting.flag)
        } else {
            layer.rejected.insert(setting.name)
            usageProblem(
                at: setting.flag, "needs a value; write \(setting.flag) \(setting.placeholder)")
        }
    }

    private mutating func add(_ text: String, to setting: Setting, flag: String) {
        guard layer.values[setting.name] != nil else {
            layer.values[setting.name] = WrittenValue(texts: [text], origin: .flag(flag))
            return
        }
        if setting.isList {
            layer.values[setting.name]?.texts.append(text)
        } else {
            usageProblem(at: flag, "is given more than once; give it once")
        }
    }

    private mutating func unknown(_ name: String, settings: [Setting]) {
        let names = settings.map(\.name) + CommandLineAction.allCases.map(\.rawValue)
        let meant = Spelling.nearest(to: name, in: names)
        let advice = meant.map { "did you mean --\($0)?" } ?? "--help lists all flags"
        usageProblem(
            at: "--\(name.prefix(Self.longestQuotation))", "is not a known flag; \(advice)")
    }

    private mutating func usageProblem(at place: String, _ message: String) {
        layer.problems.append(ConfigurationProblem(.usage, place: place, message: message))
    }

    private static func negated(_ name: String, in settings: [Setting]) -> Setting? {
        guard name.hasPrefix("no-") else { return nil }
        let positive = name.dropFirst(3)
        return settings.first { $0.kind == .boolean && $0.name == positive }
    }

    private static let longestQuotation = 100
}
