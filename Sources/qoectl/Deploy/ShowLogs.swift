import ArgumentParser
import Deployment
import Foundation
import OperatorCore

struct ShowLogs: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs",
        abstract: "Shows what services log, from their machines.",
        discussion: """
              qoectl deploy logs ingest-1
              qoectl deploy logs ingest aggregator --since 10m
              qoectl deploy logs nats-tls --follow
            A role stands for all its services. With several, each line begins with the service's name.

            Exit codes: 0; 1 a machine did not answer; 64 wrong usage; 78 something is wrong with the hosts file.
            """)

    @Argument(help: "Services or roles of the hosts file, or nats-tls.")
    var services: [String]

    @OptionGroup var installation: InstallationOptions

    @OptionGroup var remote: RemoteOptions

    @Option(
        help: ArgumentHelp(
            "From then on: 10m, 2h, 2027-01-31T12:00:00.", valueName: "time"))
    var since: String?

    @Option(
        help: ArgumentHelp(
            "So many lines of the end, 100 without --since.", valueName: "lines"))
    var tail: Int?

    @Flag(help: "Go on with what is logged from now on, until Ctrl-C.")
    var follow = false

    private static let tailDefault = 100

    func validate() throws {
        if let tail, tail < 0 { throw ValidationError("--tail \(tail) is less than 0") }
    }

    func run() throws {
        let inventory = try installation.inventory()
        let wanted = try chosen(of: inventory)
        try interruptibly { stop in
            let shell = remote.shell(isStopped: stop.asClosure)
            var logs = ServiceLogs(shell: shell)
            logs.since = since
            logs.lineCount = tail ?? (since == nil ? Self.tailDefault : nil)
            logs.follows = follow
            let reading = logs
            let isSeveral = wanted.count > 1
            let width = wanted.map { $0.service.label.count }.max() ?? 0
            let failures = inParallel(wanted, limit: wanted.count) { place -> String? in
                let name = place.service.label
                let prefix =
                    isSeveral
                    ? name + String(repeating: " ", count: width - name.count) + " | " : ""
                do throws(RemoteError) {
                    try reading.read(place.service, on: place.machine) { say(prefix + $0) }
                    return nil
                } catch {
                    return error.code == .stopped ? nil : "\(name): \(error)"
                }
            }.compactMap(\.self)
            if !failures.isEmpty { throw CommandFailure(failures.joined(separator: "\n")) }
        }
    }

    private struct Place: Sendable {
        let machine: Machine
        let service: ComposeService
    }

    private func chosen(of inventory: Inventory) throws -> [Place] {
        let all = inventory.machines.flatMap { machine in
            machine.composeServices.map { Place(machine: machine, service: $0) }
        }
        return try services.flatMap { name -> [Place] in
            let found = all.filter { place in
                if place.service.name == ComposeService.carrierName {
                    return name == ComposeService.carrierName
                }
                return [place.service.service.name, place.service.service.role.rawValue].contains(
                    name)
            }
            guard !found.isEmpty else {
                let known = inventory.services.map(\.name).joined(separator: ", ")
                throw ValidationError("no service or role is called \(name); there are \(known)")
            }
            return found
        }
    }
}

extension StopRequest {
    /// For what only asks.
    var asClosure: @Sendable () -> Bool { { self.wasGiven } }
}
