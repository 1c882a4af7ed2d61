import ArgumentParser
import Deployment
import Foundation
import OperatorCore
import OwnedThreads

/// Which installation.
struct InstallationOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The folder of the installation.",
            discussion:
                "qoectl deploy init makes it; it holds hosts, settings, secrets and certificates.",
            valueName: "path"))
    var installation = "installation"

    @Option(
        help: ArgumentHelp(
            "The folder with the project's compose files and deploy/.", valueName: "path"))
    var sources = "."

    var folder: InstallationFolder { InstallationFolder(path: installation) }

    /// The machines of its hosts file; says what is wrong with it and ends the command when there are none.
    func inventory() throws -> Inventory {
        var options = HostsOptions()
        options.hosts = folder.hostsFile
        return try options.inventory()
    }
}

/// The folder on the machines.
struct RemoteFolderOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("The folder of the installation on its machines.", valueName: "path"))
    var remoteFolder = RemoteFolder.usual

    var folder: RemoteFolder {
        get throws {
            guard let folder = RemoteFolder(remoteFolder) else {
                throw ValidationError(
                    "--remote-folder \(remoteFolder) is no folder for an installation: an absolute path of at least "
                        + "two parts, of letters, digits, points, hyphens and underscores, such as "
                        + RemoteFolder.usual)
            }
            return folder
        }
    }

    func validate() throws { _ = try folder }
}

/// What it takes to change machines.
struct FleetOptions: ParsableArguments {
    @OptionGroup var installation: InstallationOptions

    @OptionGroup var remote: RemoteOptions

    @OptionGroup var remoteFolder: RemoteFolderOptions

    @Option(
        help: ArgumentHelp(
            "How long a service may take to become healthy.", valueName: "seconds"))
    var healthTimeout = FleetDeployment.healthTimeoutDefault.components.seconds

    func validate() throws {
        guard (1...86_400).contains(healthTimeout) else {
            throw ValidationError("--health-timeout \(healthTimeout) is not from 1 to 86400")
        }
    }

    /// The installation as it shall be.
    ///
    /// - Parameter chosen: Of these machines only.
    func deployment(
        _ inventory: Inventory, chosen: [Machine], settings: [String: String] = [:],
        _ shell: any MachineShell, _ progress: DeploymentProgress
    ) throws -> FleetDeployment {
        var material = try installation.folder.material(sources: installation.sources)
        material.settings.merge(settings) { $1 }
        let rendering = FleetRendering(inventory, material)
        let wanted = Set(chosen)
        let folder = installation.folder
        var deployment = FleetDeployment(
            shell: shell, folder: try remoteFolder.folder,
            machines: try rendering.machines().filter { wanted.contains($0.machine) },
            hostsLines: rendering.hostsLines, archives: try folder.archives())
        deployment.healthTimeout = .seconds(healthTimeout)
        deployment.earlierFiles = { folder.earlierFiles($0) }
        deployment.onFiles = { try folder.note($0) }
        deployment.onEvent = { progress.show($0) }
        return deployment
    }
}

/// Shows what goes on: on a terminal also what is under way, elsewhere a line for each thing done.
final class DeploymentProgress: Sendable {
    private struct State {
        var record = DeploymentRecord()
        var lines = RedrawnLines()
    }

    private let state = Monitor(State())
    private let isTerminal = isatty(STDOUT_FILENO) == 1

    func show(_ event: DeploymentEvent) {
        state.withLock { state in
            if isTerminal { state.lines.show([]) }
            state.record.add(event)
            switch event {
            case .began: break
            case .ended(let name, let duration):
                let seconds =
                    Double(duration.components.seconds)
                    + Double(duration.components.attoseconds) / 1e18
                say("  \(name): done in \(String(format: "%.1f", seconds)) s")
            case .note(let text): say("  \(text)")
            }
            if isTerminal { state.lines.show(state.record.underWay.map { "  \($0) …" }) }
        }
    }

    /// What was done until it was interrupted.
    var interruption: String { state.withLock { $0.record.interruption } }

    /// Takes away what is shown of things under way.
    func end() {
        state.withLock { state in if isTerminal { state.lines.show([]) } }
    }
}
