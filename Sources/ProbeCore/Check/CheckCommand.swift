package import ServiceKit
internal import Transport

/// `probe check`: tells what would keep a probe with this configuration from its work, and what to do about it.
package struct CheckCommand: Sendable {
    /// What `probe check --help` says.
    package static let help = """
        Usage: probe check [--setting VALUE ...] [--json] [--no-event]

        Tests everything between this probe and ingest, and each target once, with the settings
        that the probe itself would run with: from the command line, the environment and the file
        of --config. Says what to do about each thing that is wrong. A probe that runs is not
        disturbed: its spool is left alone.

          probe check --config probe.yml
          probe check --target https://example.com --ingest-url http://127.0.0.1:8080 \\
                      --token-file token

        What is checked: the configuration; the state folder, its disk and the token's file; this
        machine's clock against ingest's; the names of all hosts; for each --ingest-url the
        connection, TLS, /health, the token, an event and a heartbeat; the permission for ICMP;
        the first hop; each target; the limit of open files; proxies; IPv6.

        Options of this command:
          --json            print one object with an array of checks instead, each with name,
                            subject, result, found, advice and duration_ms
          --no-event        post neither event nor heartbeat. Without it ingest stores one event
                            with the target 'probe-check' under the client's own name, in a
                            session of its own, and the fleet shows the probe as alive for 90 s;
                            while the probe runs only the event is posted
          --timeout         how long one check may take (the probe's setting, default: 10s);
                            checks run side by side, transfers one after the other at the end

        Exit codes:
          0   all is well; there may be warnings, as when a target cannot be reached
          1   something failed
          64  the command line was used wrongly
          78  the configuration is wrong
          130 ended by Ctrl-C

        """

    private let loaded: SettingsLoader.Result
    private let environment: [String: String]
    private let showsJSON: Bool
    private let postsEvents: Bool

    /// The command in the arguments after `check`.
    ///
    /// - Parameters:
    ///   - settings: All settings of the probe, the shared ones included.
    ///   - check: Finds what is wrong beyond single values.
    /// - Throws: ``Misuse`` that says what is wrong with the command line.
    package init(
        arguments: some Sequence<String>, environment: [String: String], settings: [Setting],
        check: @escaping @Sendable (Settings) -> [ConfigurationProblem]
    ) throws(Misuse) {
        let own = Set(["--json", "--no-event"])
        let all = Array(arguments)
        showsJSON = all.contains("--json")
        postsEvents = !all.contains("--no-event")
        self.environment = environment
        loaded = SettingsLoader(
            settings: settings, arguments: all.filter { !own.contains($0) },
            environment: environment, check: check
        ).load()
        let misuses = loaded.problems.filter { $0.category == .usage }
        guard misuses.isEmpty else {
            throw Misuse(misuses.map(\.description).joined(separator: "\n"))
        }
        if let action = loaded.action {
            throw Misuse("--\(action.rawValue) is a flag of 'probe' without 'check'")
        }
    }

    /// Checks; gives how to end.
    ///
    /// - Parameter write: Takes the output in pieces, as soon as they are known.
    package func run(_ write: (String) -> Void) -> ExitCode {
        var findings: [CheckFinding] = []
        let started = MonotonicInstant.now()
        func tell(_ finding: CheckFinding) {
            findings.append(finding)
            if !showsJSON { write(CheckReport.text(of: finding)) }
        }
        let configuration = loaded.settings.flatMap { try? ProbeConfiguration($0) }
        for finding in ConfigurationCheck.findings(
            configuration, problems: loaded.problems, warnings: loaded.warnings)
        {
            var finding = finding
            finding.duration = MonotonicInstant.now().since(started)
            tell(finding)
        }
        if let configuration {
            Checkup(configuration, environment: environment, postsEvents: postsEvents).run(tell)
        } else {
            tell(.skipped("everything else", "there is no configuration to check it with"))
        }
        let report = CheckReport(findings)
        write(showsJSON ? report.json : report.summary)
        return report.exitCode
    }

    /// A command line that cannot be understood.
    package struct Misuse: Error, Sendable, CustomStringConvertible {
        package let description: String

        init(_ description: String) {
            self.description = description
        }
    }
}
