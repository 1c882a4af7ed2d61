/// The checked settings of a program.
///
/// Asking for a name that was not declared, or as another kind, is a programmer's error and traps.
package struct Settings: Sendable {
    struct Entry: Sendable {
        var setting: Setting
        var value: SettingValue?
        /// As written, for showing.
        var texts: [String]
        var origin: SettingOrigin
    }

    /// In the order of declaration.
    let entries: [Entry]
    private let index: [String: Int]

    init(entries: [Entry]) {
        self.entries = entries
        var index: [String: Int] = [:]
        for (position, entry) in entries.enumerated() {
            precondition(
                index.updateValue(position, forKey: entry.setting.name) == nil,
                "setting '\(entry.setting.name)' is declared twice")
        }
        self.index = index
    }

    /// Settings without a command line, an environment or a file; for tests and tools.
    ///
    /// - Parameter values: By name, written as an operator would.
    /// - Throws: Every problem of the values.
    package init(_ declared: [Setting], values: [String: String] = [:]) throws(ConfigurationError) {
        var layer = ConfigurationLayer()
        for (name, text) in values {
            precondition(
                declared.contains { $0.name == name }, "setting '\(name)' is not declared")
            layer.values[name] = WrittenValue(texts: [text], origin: .flag("--\(name)"))
        }
        self = try SettingsLoader.resolve(declared, layers: [layer])
    }

    /// Settings for a tool that parses its own command line.
    ///
    /// - Parameters:
    ///   - flags: What the command line gave, by setting name; a list has one text per occurrence.
    ///   - file: The configuration file, if one was named.
    /// - Throws: Every problem of every layer.
    package init(
        _ declared: [Setting], flags: [String: [String]], environment: [String: String],
        file: String? = nil
    ) throws(ConfigurationError) {
        let named = declared + [SharedSettings.config]
        var arguments = file.map { ["--config=\($0)"] } ?? []
        for (name, texts) in flags { arguments += texts.map { "--\(name)=\($0)" } }
        let result = SettingsLoader(
            settings: named, arguments: arguments, environment: environment
        ).load()
        guard let settings = result.settings else { throw ConfigurationError(result.problems) }
        self = settings
    }

    /// Whether anything, a default included, gives it a value.
    package func isSet(_ name: String) -> Bool { entry(name).value != nil }

    /// Where the value came from.
    package func origin(_ name: String) -> SettingOrigin { entry(name).origin }

    /// A problem with the value of a setting that only the program could find, such as a file that
    /// cannot be read; says where the value was set.
    package func problem(_ name: String, _ message: String) -> ConfigurationProblem {
        ConfigurationProblem(name, at: entry(name).origin, message)
    }

    /// A text, choice, path or URL.
    package func string(_ name: String) -> String { required(name, optionalString(name)) }

    /// A text, choice, path or URL, or nil if not set.
    package func optionalString(_ name: String) -> String? {
        switch entry(name).value {
        case .text(let text): text
        case nil: nil
        default: wrongKind(name, "a text")
        }
    }

    /// A list of texts or URLs; empty if not set.
    package func strings(_ name: String) -> [String] {
        switch entry(name).value {
        case .list(let list): list
        case nil: []
        default: wrongKind(name, "a list")
        }
    }

    /// A whole number or a number of bytes.
    package func integer(_ name: String) -> Int { required(name, optionalInteger(name)) }

    /// A whole number or a number of bytes, or nil if not set.
    package func optionalInteger(_ name: String) -> Int? {
        switch entry(name).value {
        case .integer(let integer): integer
        case nil: nil
        default: wrongKind(name, "an integer")
        }
    }

    /// A number.
    package func number(_ name: String) -> Double {
        switch entry(name).value {
        case .number(let number): number
        case nil: required(name, nil)
        default: wrongKind(name, "a number")
        }
    }

    /// A time span.
    package func duration(_ name: String) -> Duration { required(name, optionalDuration(name)) }

    /// A time span, or nil if not set.
    package func optionalDuration(_ name: String) -> Duration? {
        switch entry(name).value {
        case .duration(let duration): duration
        case nil: nil
        default: wrongKind(name, "a duration")
        }
    }

    /// A host and a port.
    package func address(_ name: String) -> NetworkAddress {
        required(name, optionalAddress(name))
    }

    /// A host and a port, or nil if not set or `off`.
    package func optionalAddress(_ name: String) -> NetworkAddress? {
        switch entry(name).value {
        case .address(let address): address
        case .off, nil: nil
        default: wrongKind(name, "an address")
        }
    }

    /// True or false; false if not set.
    package func boolean(_ name: String) -> Bool {
        switch entry(name).value {
        case .boolean(let boolean): boolean
        case nil: false
        default: wrongKind(name, "a boolean")
        }
    }

    /// A path.
    package func path(_ name: String) -> String { string(name) }

    /// A path, or nil if not set.
    package func optionalPath(_ name: String) -> String? { optionalString(name) }

    /// A URL, passwords included; show it with ``Redaction/url(_:)`` only.
    package func url(_ name: String) -> String { string(name) }

    /// A URL, or nil if not set.
    package func optionalURL(_ name: String) -> String? { optionalString(name) }

    /// A list of URLs; empty if not set.
    package func urls(_ name: String) -> [String] { strings(name) }

    /// The names of the settings whose values differ from those of `other`.
    func names(differingFrom other: Settings) -> [String] {
        entries.filter { $0.value != other.entry($0.setting.name).value }.map(\.setting.name)
    }

    /// Whether SIGHUP applies a new value of the setting.
    func isReloadable(_ name: String) -> Bool { entry(name).setting.isReloadable }

    private func entry(_ name: String) -> Entry {
        guard let position = index[name] else {
            preconditionFailure("setting '\(name)' is not declared")
        }
        return entries[position]
    }

    private func required<Value>(_ name: String, _ value: Value?) -> Value {
        guard let value else {
            preconditionFailure("setting '\(name)' has no value: declare it required or a default")
        }
        return value
    }

    private func wrongKind(_ name: String, _ wanted: String) -> Never {
        preconditionFailure("setting '\(name)' is not \(wanted)")
    }
}
