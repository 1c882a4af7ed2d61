internal import CoreMetrics
internal import Glibc
internal import Logging
internal import ServiceLifecycle

/// A long-running program: what it is called, what can be set, and what it does.
///
/// `await Program(...).main()` is all that a `main.swift` needs. It reads the configuration, sets
/// up logs, metrics and health, runs the program, and ends it with an ``ExitCode``.
package struct Program: Sendable {
    /// A command line worth showing, and what it does.
    package struct Example: Sendable {
        package let command: String
        package let explanation: String

        package init(_ command: String, _ explanation: String) {
            self.command = command
            self.explanation = explanation
        }
    }

    /// A socket that the program listens on besides its metrics.
    package struct Listener: Sendable {
        /// As in the port file, such as `api`.
        package let name: String
        /// The setting with its address.
        package let setting: String
        package let purpose: String

        package init(_ name: String, setting: String, purpose: String) {
            self.name = name
            self.setting = setting
            self.purpose = purpose
        }
    }

    /// In lower case, as typed.
    package let name: String
    package let abstract: String
    package let discussion: String
    package let examples: [Example]
    package let listeners: [Listener]
    /// The program's own settings; ``allSettings`` has the shared ones too.
    package let settings: [Setting]
    package let metricsListen: String
    let dependencies: [String]
    let libraries: @Sendable () -> [(name: String, version: String)]
    let check: @Sendable (Settings) -> [ConfigurationProblem]
    let run: @Sendable (ServiceContext) async throws -> Void

    /// Describes a program.
    ///
    /// - Parameters:
    ///   - abstract: One line.
    ///   - discussion: What it does, where it stands among the others, and what it needs.
    ///   - examples: The first is a minimal command line that works.
    ///   - metricsListen: The default of `--metrics-listen`, or `off`.
    ///   - dependencies: What must be reported ready for `/ready`; see ``HealthRegistry``.
    ///   - libraries: Names and versions of linked libraries, for `--version`.
    ///   - check: Finds what is wrong beyond single values; also run by `--check-config`. Make
    ///     problems with ``Settings/problem(_:_:)``.
    ///   - run: Builds the parts, adds them to the context as services, and returns; or does all the
    ///     work itself. The program ends when `run` has returned and no service was added, when
    ///     `run` or a service throws, or on a signal. On a shutdown `run` is cancelled.
    package init(
        name: String, abstract: String, discussion: String, examples: [Example],
        settings: [Setting], metricsListen: String, listeners: [Listener] = [],
        dependencies: [String] = [],
        libraries: @escaping @Sendable () -> [(name: String, version: String)] = { [] },
        check: @escaping @Sendable (Settings) -> [ConfigurationProblem] = { _ in [] },
        run: @escaping @Sendable (ServiceContext) async throws -> Void
    ) {
        self.name = name
        self.abstract = abstract
        self.discussion = discussion
        self.examples = examples
        self.settings = settings
        self.metricsListen = metricsListen
        self.listeners = listeners
        self.dependencies = dependencies
        self.libraries = libraries
        self.check = check
        self.run = run
    }

    /// The program's own settings, then the shared ones.
    package var allSettings: [Setting] {
        settings + [
            SharedSettings.metricsListen(default: metricsListen), SharedSettings.config,
            SharedSettings.logLevel, SharedSettings.logFormat, SharedSettings.portFile,
            SharedSettings.shutdownTimeout,
        ]
    }

    /// Runs the program as the process asks for, and ends the process.
    package func main() async -> Never {
        // A peer that closes its connection is an error of a write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        let code = await run(
            arguments: Array(CommandLine.arguments.dropFirst()),
            environment: ProcessEnvironment.variables)
        exit(code.rawValue)
    }

    /// Does all that ``main()`` does but end the process. Once in a process, since logs, metrics
    /// and signals are the process's own.
    ///
    /// - Parameter arguments: Without the program's own name.
    package func run(arguments: [String], environment: [String: String]) async -> ExitCode {
        let loader = SettingsLoader(
            settings: allSettings, arguments: arguments, environment: environment, check: check)
        let loaded = loader.load()
        switch loaded.action {
        case .help:
            StandardOutput.write(helpText)
            return .success
        case .helpMarkdown:
            StandardOutput.write(settingsTable)
            return .success
        case .version:
            StandardOutput.write(versionText)
            return .success
        case .printConfig, .checkConfig, nil:
            break
        }
        let problems = loaded.problems
        for warning in loaded.warnings { StandardError.write("warning: \(warning)\n") }
        guard let settings = loaded.settings else {
            for problem in problems { StandardError.write("\(name): \(problem)\n") }
            let isUsage = problems.contains { $0.category == .usage }
            if isUsage { StandardError.write("Try '\(name) --help'.\n") }
            return isUsage ? .usage : .configuration
        }
        switch loaded.action {
        case .printConfig:
            StandardOutput.write(PrintedConfiguration.yaml(of: settings, program: name))
            return .success
        case .checkConfig:
            StandardOutput.write("configuration is valid\n")
            return .success
        default:
            return await ProgramRun(program: self, settings: settings, loader: loader).run()
        }
    }
}
