internal import Spelling

extension ConfigurationLayer {
    /// Reads the settings' environment variables; an empty one counts as not set.
    ///
    /// Other `QOE_` variables are normal, since programs share an environment. Only one that looks
    /// like a misspelling of a variable of this program is warned about.
    init(environment: [String: String], settings: [Setting]) {
        var known: Set<String> = []
        for setting in settings {
            known.formUnion(setting.environment)
            let name = setting.environment.first { !(environment[$0] ?? "").isEmpty }
            guard let name, let text = environment[name] else { continue }
            values[setting.name] = WrittenValue(texts: [text], origin: .environment(name))
        }
        for name in environment.keys.sorted() where name.hasPrefix("QOE_") && !known.contains(name)
        {
            guard let meant = Spelling.nearest(to: name, in: known.sorted()) else { continue }
            warnings.append(
                ConfigurationProblem(
                    place: name, message: "is not used by this program; did you mean \(meant)?"))
        }
    }
}
