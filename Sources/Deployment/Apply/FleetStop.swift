/// Ends services on machines: their containers are stopped, with the time that they were given, and removed.
package struct FleetStop: Sendable {
    package let shell: any MachineShell
    package let folder: RemoteFolder
    package var onEvent: @Sendable (DeploymentEvent) -> Void = { _ in }

    /// Longer than the longest stop_grace_period.
    private static let stopTimeout = Duration.seconds(300)

    package init(shell: any MachineShell, folder: RemoteFolder) {
        self.shell = shell
        self.folder = folder
    }

    /// Stops services, the last phase first; in storage one after the other, the replica before the primary.
    ///
    /// - Parameter staying: What goes on running on a machine and needs what else is there.
    package func stop(
        _ machines: [Machine], staying: [Machine] = []
    ) throws(DeploymentFailure) {
        for phase in Phase.allCases.reversed() {
            let work = machines.compactMap { machine -> (Machine, [ComposeService])? in
                let kept = Set(
                    staying.first { $0.address == machine.address }?.composeServices.map(\.key)
                        ?? [])
                let services = machine.composeServices.filter {
                    $0.phase == phase && !kept.contains($0.key)
                }
                return services.isEmpty ? nil : (machine, services.reversed())
            }
            if phase == .storage {
                for (machine, services) in work.reversed() { try stop(services, on: machine) }
            } else {
                let results = inParallel(work) { machine, services in
                    Result { () throws(DeploymentFailure) in
                        try self.stop(services, on: machine)
                    }
                }
                let problems = results.flatMap { result -> [String] in
                    if case .failure(let failure) = result { failure.problems } else { [] }
                }
                if !problems.isEmpty { throw DeploymentFailure(problems) }
            }
        }
    }

    private func stop(
        _ services: [ComposeService], on machine: Machine
    ) throws(DeploymentFailure) {
        for service in services {
            let script = """
                c=$(docker ps -aq --filter label=com.docker.compose.project=\(service.tier.project) \
                --filter label=com.docker.compose.service=\(service.name)) || exit 1
                [ -z "$c" ] || { docker stop $c && docker rm $c; } > /dev/null

                """
            let name = "stop \(service.label)"
            onEvent(.began(name))
            let start = ContinuousClock.now
            do throws(RemoteError) {
                try shell.succeed(script, on: machine, timeout: Self.stopTimeout)
            } catch {
                throw DeploymentFailure(["\(name): \(error)"])
            }
            onEvent(.ended(name, ContinuousClock.now - start))
        }
    }

    /// Takes away what an apply put on a machine: the folder and the block in /etc/hosts; data only if asked.
    ///
    /// - Parameter dataFolders: Removed too, with the volumes of our projects; empty keeps them all.
    package func clear(
        _ machine: Machine, dataFolders: [String] = [], removesVolumes: Bool = false
    ) throws(DeploymentFailure) {
        // Whatever a setting says, a folder of the system is none of data.
        let folders = dataFolders.compactMap { RemoteFolder($0)?.path }
        let volumes = ComposeService.Tier.allCases.map { tier in
            """
            v=$(docker volume ls -q --filter label=com.docker.compose.project=\(tier.project))
            [ -z "$v" ] || docker volume rm $v > /dev/null

            """
        }.joined()
        let script = """
            set -e
            cd /
            \(removesVolumes ? volumes : "")\
            \(folders.map { "rm -rf \($0)\n" }.joined())\
            rm -rf \(folder.path)
            \(HostsBlock.script(nil))
            """
        do throws(RemoteError) {
            try shell.succeed(script, on: machine)
        } catch {
            throw DeploymentFailure(error)
        }
    }
}
