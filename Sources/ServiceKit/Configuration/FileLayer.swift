internal import Yams

extension ConfigurationLayer {
    /// Reads a YAML file: one mapping from the settings' names to their values.
    ///
    /// - Parameters:
    ///   - path: As it is to be shown in problems.
    ///   - settings: Those that may be set in a file.
    init(yaml text: String, path: String, settings: [Setting]) {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            problems = Self.problems(of: error, in: text, path: path)
            isUnreadable = true
            return
        }
        guard let root, root.null == nil else { return }
        guard case .mapping(let mapping) = root else {
            problems = [
                ConfigurationProblem(
                    place: "\(path):\(root.mark?.line ?? 1)",
                    message: "is not a mapping; write one 'name: value' per line",
                    line: root.mark?.line ?? 1)
            ]
            isUnreadable = true
            return
        }
        for (key, node) in mapping {
            let line = key.mark?.line ?? node.mark?.line ?? 1
            let origin = SettingOrigin.file(path: path, line: line)
            guard let name = key.scalar?.string else {
                problems.append(
                    ConfigurationProblem(
                        place: "\(path):\(line)", message: "a key is not a plain word", line: line))
                continue
            }
            guard let setting = settings.first(where: { $0.name == name }) else {
                problems.append(Self.unknown(name, at: origin, settings: settings))
                continue
            }
            do {
                values[name] = WrittenValue(
                    texts: try Self.texts(node, of: setting), origin: origin)
            } catch {
                problems.append(ConfigurationProblem(name, at: origin, error.message))
                rejected.insert(name)
            }
        }
    }

    private static func texts(_ node: Node, of setting: Setting) throws(InvalidValue) -> [String] {
        switch node {
        case .scalar(let scalar):
            let isPlain = scalar.style == .any || scalar.style == .plain
            guard !(isPlain && node.null != nil) else {
                throw InvalidValue(message: "has no value; give one or remove the line")
            }
            return [scalar.string]
        case .sequence(let elements) where setting.isList:
            var texts: [String] = []
            for element in elements {
                guard let text = element.scalar?.string else {
                    throw InvalidValue(message: "holds something other than plain values")
                }
                texts.append(text)
            }
            return texts
        case .sequence:
            throw InvalidValue(message: "is a list; give one value (\(setting.placeholder))")
        case .mapping:
            throw InvalidValue(message: "is a mapping; give a value (\(setting.placeholder))")
        case .alias:
            throw InvalidValue(message: "refers to an anchor that is not known")
        }
    }

    private static func unknown(
        _ name: String, at origin: SettingOrigin, settings: [Setting]
    ) -> ConfigurationProblem {
        let isFlagOnly =
            CommandLineAction(rawValue: name) != nil || name == SharedSettings.config.name
        let advice: String
        if isFlagOnly {
            advice = "cannot be set in a file; give it as --\(name)"
        } else if let meant = Spelling.nearest(to: name, in: settings.map(\.name)) {
            advice = "is not a known setting; did you mean \(meant)?"
        } else {
            advice = "is not a known setting; --help lists all"
        }
        return ConfigurationProblem(name, at: origin, advice)
    }

    private static func problems(
        of error: any Error, in text: String, path: String
    ) -> [ConfigurationProblem] {
        switch error as? YamlError {
        case .duplicatedKeysInMapping(let names, let context):
            return names.map { name in
                let lines = Self.lines(settingKey: name, in: text)
                let line = lines.dropFirst().first ?? context.mark.line
                let first = lines.first.map { ", first on line \($0)" } ?? ""
                return ConfigurationProblem(
                    name, at: .file(path: path, line: line), "is set twice\(first); keep one")
            }
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return [
                ConfigurationProblem(
                    place: "\(path):\(mark.line)",
                    message: "is not valid YAML: \(problem), at column \(mark.column)")
            ]
        case .reader(let problem, _, _, _):
            return [ConfigurationProblem(place: path, message: "is not valid YAML: \(problem)")]
        default:
            return [ConfigurationProblem(place: path, message: "is not valid YAML")]
        }
    }

    /// The lines, counted from 1, that set a top-level key.
    private static func lines(settingKey name: String, in text: String) -> [Int] {
        text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated()
            .filter { _, line in
                [name, "\"\(name)\"", "'\(name)'"].contains { key in
                    line.hasPrefix(key) && line.dropFirst(key.count).drop { $0 == " " }.first == ":"
                }
            }
            .map { $0.offset + 1 }
    }
}
