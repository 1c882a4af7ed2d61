import ArgumentParser

/// An installation on several machines.
struct DeployCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy",
        abstract: "An installation on several machines, from its hosts file.",
        discussion: """
              qoectl deploy init --hosts hosts   makes the installation's folder: secrets, certificates, tokens
              qoectl deploy plan --hosts hosts   shows what will run where
              qoectl deploy apply --dry-run      shows what would be done
              qoectl deploy apply                does it, over ssh
            The hosts file has lines for /etc/hosts, and its names say what each machine is for; hosts.example \
            shows one.

            Exit codes: 0; 1 something failed; 64 wrong usage; 78 something is wrong with the hosts file: \
            standard error has a line for each problem.
            """,
        subcommands: [
            InitializeDeployment.self, PlanDeployment.self, PrintFirewall.self, CheckMachines.self,
            ApplyDeployment.self, UpgradeDeployment.self, ScaleDeployment.self,
            StopDeployment.self, ShowStatus.self, ShowLogs.self, MakeProbeFolder.self,
            BackupDeployment.self, RestoreDeployment.self,
        ])
}
