import ArgumentParser
import Deployment

/// How machines are reached, for all commands that go there.
struct RemoteOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The user on the machines; any but root goes on by sudo, without a password.",
            valueName: "name"))
    var sshUser = "root"

    @Option(help: ArgumentHelp("The private key.", valueName: "path"))
    var sshKey: String?

    @Option(
        help: ArgumentHelp(
            "A configuration for ssh, instead of ~/.ssh/config; machines go by their addresses.",
            valueName: "path"))
    var sshConfig: String?

    @Option(help: ArgumentHelp("The port of sshd.", valueName: "port"))
    var sshPort: UInt16?

    func validate() throws {
        // It goes to ssh as an argument of its own.
        guard !sshUser.isEmpty, !sshUser.hasPrefix("-") else {
            throw ValidationError("--ssh-user '\(sshUser)' is no user's name")
        }
    }

    /// A shell for all of them; what is under way ends when `isStopped` says so.
    func shell(isStopped: @escaping @Sendable () -> Bool) -> RemoteShell {
        RemoteShell(
            SSHOptions(user: sshUser, keyFile: sshKey, configFile: sshConfig, port: sshPort),
            isStopped: isStopped)
    }
}
