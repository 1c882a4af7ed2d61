/// Finds and checks a program's settings: command line, then environment, then file, then default.
package struct SettingsLoader: Sendable {
    /// Everything declared, the shared settings included.
    private let settings: [Setting]
    private let arguments: [String]
    private let environment: [String: String]
    /// Finds what is wrong beyond single values.
    private let check: @Sendable (Settings) -> [ConfigurationProblem]

    /// - Parameter arguments: Without the program's own name.
    package init(
        settings: [Setting], arguments: [String], environment: [String: String],
        check: @escaping @Sendable (Settings) -> [ConfigurationProblem] = { _ in [] }
    ) {
        self.settings = settings
        self.arguments = arguments
        self.environment = environment
        self.check = check
    }

    /// What loading found.
    package struct Result: Sendable {
        /// Nil when there are problems.
        package var settings: Settings?
        /// What is asked for other than running.
        package var action: CommandLineAction?
        /// In the order of the file's lines; those found elsewhere come first.
        package var problems: [ConfigurationProblem]
        /// What is odd but no reason to refuse.
        package var warnings: [ConfigurationProblem]
    }

    /// Reads every layer anew, the file included. Never throws: problems are part of the result.
    package func load() -> Result {
        let commandLine = CommandLineLayer(arguments: arguments, settings: settings)
        let environment = ConfigurationLayer(environment: environment, settings: settings)
        let configName = SharedSettings.config.name
        var layers = [commandLine.layer, environment]
        let file = commandLine.layer.values[configName] ?? environment.values[configName]
        if let path = file?.texts.first, let origin = file?.origin {
            layers.append(fileLayer(path: path, namedBy: origin))
        }
        var result = Result(
            action: commandLine.action, problems: layers.flatMap(\.problems),
            warnings: layers.flatMap(\.warnings))
        do {
            let resolved = try Self.resolve(settings, layers: layers)
            if result.problems.isEmpty { result.problems = check(resolved) }
            result.settings = resolved
        } catch {
            result.problems += error.problems
        }
        result.warnings += visibleSecrets(commandLine.layer)
        if !result.problems.isEmpty { result.settings = nil }
        // By file line, what has none first: the order in which an operator corrects them.
        result.problems = result.problems.enumerated()
            .sorted { ($0.element.line, $0.offset) < ($1.element.line, $1.offset) }
            .map(\.element)
        return result
    }

    /// Warns of passwords on the command line, which every user of the machine can read there.
    private func visibleSecrets(_ commandLine: ConfigurationLayer) -> [ConfigurationProblem] {
        settings.filter(\.isURL).compactMap { setting in
            guard let written = commandLine.values[setting.name],
                written.texts.contains(where: { Redaction.url($0) != $0 })
            else { return nil }
            let variable = setting.environment.first.map { "\($0), " } ?? ""
            let file = settings.first { $0.name == Setting.postgresPasswordFile.name }
            let own = setting.name == Setting.postgresURL.name ? file.map { "\($0.flag), " } : nil
            return ConfigurationProblem(
                setting.name, at: written.origin,
                "holds a password, which everybody on this machine can see in the list of"
                    + " processes; use \(own ?? "")\(variable)or the file of --config")
        }
    }

    private func fileLayer(path: String, namedBy origin: SettingOrigin) -> ConfigurationLayer {
        var layer = ConfigurationLayer()
        do {
            let text = try TextFile.read(path, limit: Self.largestFile)
            let allowed = settings.filter { $0.name != SharedSettings.config.name }
            layer = ConfigurationLayer(yaml: text, path: path, settings: allowed)
        } catch {
            let problem = "\(error) (named by \(origin))"
            layer.problems = [ConfigurationProblem(place: path, message: problem)]
            layer.isUnreadable = true
        }
        return layer
    }

    /// A configuration is a page of text; more is a mistake, such as a log or a device.
    private static let largestFile = 1 << 20

    /// Layers what was written and checks it.
    ///
    /// - Parameter layers: The strongest first.
    /// - Throws: Every problem of every value, also of values that a stronger layer hides: a
    ///   mistake is a mistake even where it does no harm today.
    static func resolve(
        _ settings: [Setting], layers: [ConfigurationLayer]
    ) throws(ConfigurationError) -> Settings {
        var problems: [ConfigurationProblem] = []
        for layer in layers {
            for setting in settings {
                guard let written = layer.values[setting.name] else { continue }
                do {
                    _ = try setting.value(of: written.texts)
                } catch {
                    problems.append(
                        ConfigurationProblem(setting.name, at: written.origin, error.message))
                }
            }
        }
        var entries: [Settings.Entry] = []
        for setting in settings {
            let byDefault = setting.default.map { WrittenValue(texts: [$0], origin: .default) }
            let written = layers.lazy.compactMap { $0.values[setting.name] }.first ?? byDefault
            guard let written else {
                // Where it was tried to set it, the mistake made there says enough.
                let isTried = layers.contains {
                    $0.isUnreadable || $0.rejected.contains(setting.name)
                }
                if setting.isRequired, !isTried { problems.append(missing(setting)) }
                entries.append(.init(setting: setting, value: nil, texts: [], origin: .default))
                continue
            }
            let value = try? setting.value(of: written.texts)
            precondition(
                value != nil || written.origin != .default,
                "the default of '\(setting.name)' is not valid")
            entries.append(
                .init(
                    setting: setting, value: value, texts: written.texts, origin: written.origin))
        }
        guard problems.isEmpty else { throw ConfigurationError(problems) }
        return Settings(entries: entries)
    }

    private static func missing(_ setting: Setting) -> ConfigurationProblem {
        let variable = setting.environment.first.map { ", \($0)" } ?? ""
        return ConfigurationProblem(
            place: setting.name,
            message: "is required; set it with \(setting.flag)\(variable) or '\(setting.name):' in"
                + " the file")
    }
}
