internal import ServiceKit

/// Whether the probe would start with these settings.
enum ConfigurationCheck {
    static let name = "configuration"

    /// A finding for each problem and each oddity, or one that says that there is none.
    ///
    /// - Parameter configuration: Nil when there are problems.
    static func findings(
        _ configuration: ProbeConfiguration?, problems: [ConfigurationProblem],
        warnings: [ConfigurationProblem]
    ) -> [CheckFinding] {
        var findings = problems.map { problem in
            CheckFinding.failed(
                name, "\(problem)",
                "correct it there; 'probe --help' tells what each setting takes")
        }
        findings += warnings.map { .warning(name, "\($0)", "correct it there, or remove it") }
        guard let configuration, findings.isEmpty else { return findings }
        let targets = configuration.plan.targets.count
        let servers = configuration.servers.count
        return [
            .ok(
                name,
                "\(targets) \(targets == 1 ? "target" : "targets"), \(servers)"
                    + " \(servers == 1 ? "address" : "addresses") of ingest")
        ]
    }
}
