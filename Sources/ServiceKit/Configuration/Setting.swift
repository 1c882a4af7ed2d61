/// One thing an operator can set: by flag, by environment variable or in the file.
///
/// A program lists its settings once. Parsing, `--help`, `--print-config`, `--check-config` and
/// the documentation's tables are all made from that list.
package struct Setting: Sendable {
    /// What a value looks like; decides how text is checked and what the getters return.
    package enum Kind: Sendable, Equatable {
        /// Any text.
        case string
        /// Texts: comma-separated, a repeated flag, or a YAML sequence.
        case strings
        /// A whole number within the range.
        case integer(ClosedRange<Int>)
        /// A finite number within the range.
        case number(ClosedRange<Double>)
        /// A number of bytes within the range, written `65536`, `64KiB`, `512MiB` or `10GiB`.
        case byteCount(ClosedRange<Int>)
        /// A time span of zero or more, written `500ms`, `30s`, `5m`, `2h` or `7d`.
        case duration
        /// A time span within the range.
        case durationIn(ClosedRange<Duration>)
        /// `host:port` or `[v6]:port`; port 0 asks the system for a free one.
        case address
        /// As `address`, or the word `off`.
        case addressOrOff
        /// `true` or `false`; as a flag `--name` alone means true.
        case boolean
        /// One of the given words.
        case choice([String])
        /// A path of a file or folder; whether it exists is for the program to see.
        case path
        /// One URL with one of the schemes. A libpq URI that names several hosts is one URL.
        case url(schemes: [String])
        /// URLs: comma-separated, a repeated flag, or a YAML sequence.
        case urls(schemes: [String])
    }

    /// In kebab case, such as `nats-url`: the flag without its dashes, and the key in the file.
    package let name: String
    package let kind: Kind
    /// What holds when nothing is set, in the same writing that an operator would use.
    package let `default`: String?
    /// The environment variables that set it; the first is the one that help shows.
    package let environment: [String]
    /// Whether a program cannot start without it.
    package let isRequired: Bool
    /// Whether the value must never be shown.
    package let isSecret: Bool
    /// Whether SIGHUP applies a new value; others need a restart, and a warning says so.
    package let isReloadable: Bool
    /// What it is, its unit, and when to change it.
    package let help: String

    /// Declares a setting.
    ///
    /// - Parameters:
    ///   - environment: The environment variables, when the derived `QOE_` name will not do.
    ///   - default: Must be valid for `kind`; that is checked when the settings are loaded.
    package init(
        _ name: String, _ kind: Kind, default: String? = nil, environment: [String]? = nil,
        isRequired: Bool = false, isSecret: Bool = false, isReloadable: Bool = false, help: String
    ) {
        precondition(Self.isKebabCase(name), "setting '\(name)' is not in kebab case")
        precondition(
            !(isRequired && `default` != nil), "setting '\(name)' is required and has a default")
        self.name = name
        self.kind = kind
        self.default = `default`
        self.environment = environment ?? [Self.environmentName(of: name)]
        self.isRequired = isRequired
        self.isSecret = isSecret
        self.isReloadable = isReloadable
        self.help = help
    }

    /// The flag as typed, such as `--nats-url`.
    package var flag: String { "--\(name)" }

    /// What stands for a value in help, such as `HOST:PORT`.
    package var placeholder: String {
        switch kind {
        case .string: "TEXT"
        case .strings: "TEXT,..."
        case .integer, .number: "NUMBER"
        case .byteCount: "BYTES"
        case .duration, .durationIn: "DURATION"
        case .address: "HOST:PORT"
        case .addressOrOff: "HOST:PORT|off"
        case .boolean: "true|false"
        case .choice(let words): words.joined(separator: "|")
        case .path: "PATH"
        case .url: "URL"
        case .urls: "URL,..."
        }
    }

    /// Whether the value is a list.
    var isList: Bool {
        switch kind {
        case .strings, .urls: true
        default: false
        }
    }

    /// Whether the value may carry a password inside a URL.
    var isURL: Bool {
        switch kind {
        case .url, .urls: true
        default: false
        }
    }

    /// `QOE_` and the name in upper snake case.
    static func environmentName(of name: String) -> String {
        "QOE_" + name.uppercased().replacing("-", with: "_")
    }

    private static func isKebabCase(_ name: String) -> Bool {
        guard let first = name.utf8.first, let last = name.utf8.last else { return false }
        let dash = UInt8(ascii: "-")
        return first != dash && last != dash
            && name.utf8.allSatisfy { byte in
                byte == dash || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            }
    }
}
