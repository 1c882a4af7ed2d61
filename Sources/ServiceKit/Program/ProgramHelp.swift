extension Program {
    /// The width that help is set in: fits every terminal.
    private static let width = 88

    /// What `--help` prints.
    package var helpText: String {
        var text = "\(name) \(Build.version) - \(abstract)\n\n"
        for paragraph in discussion.split(separator: "\n", omittingEmptySubsequences: true) {
            text += Self.wrapped(String(paragraph), indent: 0) + "\n"
        }
        text += "Usage: \(name) [--setting VALUE ...]\n\nExamples:\n"
        for example in examples {
            text += "  \(example.command)\n"
            text += Self.wrapped(example.explanation, indent: 6)
        }
        text += "\nSettings (a flag goes before the environment, that before the file):\n"
        for setting in allSettings { text += Self.help(setting) }
        text += "\nOther flags:\n"
        for action in CommandLineAction.allCases {
            text += "  --\(action.rawValue)\n" + Self.wrapped(action.help, indent: 6)
        }
        text += "\nPorts:\n"
        for listener in listeners {
            let address = settings.first { $0.name == listener.setting }?.default ?? "no default"
            text += "  \(listener.name): \(address) (--\(listener.setting))\n"
            text += Self.wrapped(listener.purpose, indent: 6)
        }
        text += "  metrics: \(metricsListen) (--\(SharedSettings.metricsListenName))\n"
        text += Self.wrapped("/health, /ready and /metrics over HTTP.", indent: 6)
        text += """

            Signals:
              SIGTERM, SIGINT   shut down gracefully; a second one ends at once
              SIGHUP            read the configuration again; a bad one changes nothing

            Exit codes:

            """
        for (code, meaning) in ExitCode.meanings {
            text += "  \(Self.padded("\(code.rawValue)", to: 5))\(meaning)\n"
        }
        return text
    }

    /// What `--help-markdown` prints: the settings as a table for the documentation.
    package var settingsTable: String {
        var text = "| setting | environment | default | meaning |\n|---|---|---|---|\n"
        for setting in allSettings {
            let cells = [
                "`\(setting.flag) \(setting.placeholder)`",
                setting.environment.map { "`\($0)`" }.joined(separator: ", "),
                setting.default.map { "`\($0)`" } ?? (setting.isRequired ? "required" : "none"),
                setting.help + (setting.isReloadable ? " SIGHUP applies a new value." : ""),
            ]
            text += "| \(cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ")) |\n"
        }
        return text
    }

    /// What `--version` prints.
    var versionText: String {
        var text = "\(name) \(Build.version)\nSwift \(Build.swiftVersion)\n"
        for library in libraries() { text += "\(library.name) \(library.version)\n" }
        return text
    }

    private static func help(_ setting: Setting) -> String {
        var facts = setting.environment.joined(separator: " or ")
        if let value = setting.default ?? (setting.kind == .boolean ? "false" : nil) {
            facts += ", default \(value)"
        } else if setting.isRequired {
            facts += ", required"
        }
        if setting.isReloadable { facts += ", SIGHUP reloads it" }
        let value = setting.kind == .boolean ? "" : " \(setting.placeholder)"
        return "  \(setting.flag)\(value)\n"
            + wrapped("[\(facts)]", indent: 6) + wrapped(setting.help, indent: 6)
    }

    private static func padded(_ text: String, to width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }

    private static func wrapped(_ text: String, indent: Int) -> String {
        let margin = String(repeating: " ", count: indent)
        var lines: [String] = []
        var line = margin
        for word in text.split(separator: " ") {
            if line.count > indent, line.count + 1 + word.count > width {
                lines.append(line)
                line = margin
            }
            line += (line.count > indent ? " " : "") + word
        }
        lines.append(line)
        return lines.joined(separator: "\n") + "\n"
    }
}
