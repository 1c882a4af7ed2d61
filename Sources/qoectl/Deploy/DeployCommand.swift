import ArgumentParser

/// An installation on several machines.
struct DeployCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy",
        abstract: "An installation on several machines, from its hosts file.",
        discussion: """
            The hosts file has lines for /etc/hosts, and its names say what each machine is for; \
            hosts.example shows one.

            Exit codes: 0; 64 wrong usage; 78 something is wrong with the hosts file: standard error \
            has a line for each problem.
            """,
        subcommands: [PlanDeployment.self, PrintFirewall.self])
}
