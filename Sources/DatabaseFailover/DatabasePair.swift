package import Deployment

/// The two database servers of an installation, on their machines.
package struct DatabasePair: Sendable {
    package struct Server: Sendable {
        package let name: String
        package let machine: Machine
        let scripts: ServerScripts
    }

    package let servers: [Server]
    let shell: any MachineShell

    /// - Throws: ``FailoverError`` when the inventory has no replica.
    package init(_ inventory: Inventory, _ shell: any MachineShell) throws(FailoverError) {
        let found = [Role.postgresPrimary, .postgresReplica].compactMap { role in
            inventory.machines.lazy.compactMap { machine in
                machine.services.first { $0.role == role }.map { ($0.name, machine) }
            }.first
        }
        guard found.count == 2 else {
            throw FailoverError(
                "the hosts file has no postgres-replica, so there is nothing to fail over to; qoectl db restore "
                    + "fills a new database from a backup")
        }
        servers = zip(found, found.reversed()).map { one, other in
            Server(
                name: one.0, machine: one.1,
                scripts: ServerScripts(service: one.0, other: other.0))
        }
        self.shell = shell
    }

    /// What both are now, in the order of ``servers``.
    package func look() -> [ServerSight] {
        inParallel(servers) { look(at: $0) }
    }

    func look(at server: Server) -> ServerSight {
        do throws(RemoteError) {
            let output = try shell.succeed(server.scripts.look, on: server.machine)
            return ServerSight(
                name: server.name, report: String(decoding: output.output, as: UTF8.self))
        } catch {
            return ServerSight(name: server.name, container: .unknown(error.message))
        }
    }

    func server(_ name: String) throws(FailoverError) -> Server {
        guard let server = servers.first(where: { $0.name == name }) else {
            throw FailoverError("\(name) is no database server of the hosts file")
        }
        return server
    }

    /// Runs a script that takes at most `timeout`, and returns what it printed.
    @discardableResult
    func run(
        _ script: String, on server: Server, timeout: Duration = MachineShellTimes.answer
    ) throws(FailoverError) -> String {
        do throws(RemoteError) {
            let output = try shell.succeed(script, on: server.machine, timeout: timeout)
            return String(decoding: output.output, as: UTF8.self)
        } catch {
            throw FailoverError("\(server.name): \(error.message)")
        }
    }
}

/// Why a failover or a rejoin did not come to its end, and what to do; for people.
package struct FailoverError: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
