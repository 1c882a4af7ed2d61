internal import Spelling
internal import YAML

extension ConfigurationLayer {
    /// Reads a YAML file: one mapping from the settings' names to their values.
    ///
    /// - Parameters:
    ///   - path: As it is to be shown in problems.
    ///   - settings: Those that may be set in a file.
    init(yaml text: String, path: String, settings: [Setting]) {
        let root: YAMLNode?
        do throws(YAMLProblem) {
            root = try YAMLDocument.read(text)
        } catch {
            problems = [Self.problem(of: error, path: path)]
            isUnreadable = true
            return
        }
        guard let root, !root.isNull else { return }
        guard case .mapping(let pairs) = root.content else {
            problems = [
                ConfigurationProblem(
                    place: "\(path):\(root.line)",
                    message: "is not a mapping; write one 'name: value' per line", line: root.line)
            ]
            isUnreadable = true
            return
        }
        var lines: [String: Int] = [:]
        for pair in pairs {
            let line = pair.key.line
            let origin = SettingOrigin.file(path: path, line: line)
            guard let name = pair.key.text else {
                problems.append(
                    ConfigurationProblem(
                        place: "\(path):\(line)", message: "a key is not a plain word", line: line))
                continue
            }
            if let first = lines.updateValue(line, forKey: name) {
                problems.append(
                    ConfigurationProblem(
                        name, at: origin, "is set twice, first on line \(first); keep one"))
                isUnreadable = true
                continue
            }
            guard let setting = settings.first(where: { $0.name == name }) else {
                problems.append(Self.unknown(name, at: origin, settings: settings))
                continue
            }
            do {
                values[name] = WrittenValue(
                    texts: try Self.texts(pair.value, of: setting), origin: origin)
            } catch {
                problems.append(ConfigurationProblem(name, at: origin, error.message))
                rejected.insert(name)
            }
        }
    }

    private static func texts(
        _ node: YAMLNode, of setting: Setting
    ) throws(InvalidValue) -> [String] {
        switch node.content {
        case .scalar(let text, _):
            guard !node.isNull else {
                throw InvalidValue(message: "has no value; give one or remove the line")
            }
            return [text]
        case .sequence(let elements) where setting.isList:
            var texts: [String] = []
            for element in elements {
                guard let text = element.text else {
                    throw InvalidValue(message: "holds something other than plain values")
                }
                texts.append(text)
            }
            return texts
        case .sequence:
            throw InvalidValue(message: "is a list; give one value (\(setting.placeholder))")
        case .mapping:
            throw InvalidValue(message: "is a mapping; give a value (\(setting.placeholder))")
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

    private static func problem(of error: YAMLProblem, path: String) -> ConfigurationProblem {
        let place = error.line.map { "\(path):\($0)" } ?? path
        let column = error.column.map { ", at column \($0)" } ?? ""
        return ConfigurationProblem(
            place: place, message: "is not valid YAML: \(error.message)\(column)",
            line: error.line ?? 0)
    }
}
