import ArgumentParser
import Deployment
import Foundation
import OperatorCore

struct ShowStatus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows what runs where, since when, and how it stands.",
        discussion: """
            Asks every machine by ssh. A row for each service of the hosts file: its image, its health, when it \
            started, and for the servers replication and cluster, for aggregators how far behind they are.

            Exit codes: 0 all is well; 1 something is not, or a machine did not answer; 64 wrong usage; 78 something \
            is wrong with the hosts file; 130 after Ctrl-C.
            """)

    @OptionGroup var installation: InstallationOptions

    @OptionGroup var remote: RemoteOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let inventory = try installation.inventory()
        try interruptibly { stop in
            let material = try installation.folder.material(sources: installation.sources)
            let status = try FleetStatus.ask(
                inventory, material, remote.shell(isStopped: stop.asClosure))
            if json {
                try sayJSON(StatusDocument(status))
            } else {
                say(Self.lines(status).joined(separator: "\n"))
                for problem in status.problems { complain(problem) }
            }
            if !status.isWell { throw ArgumentParser.ExitCode(1) }
        }
    }

    private static func lines(_ status: FleetStatus) -> [String] {
        var table = TextTable([
            ("MACHINE", .left), ("SERVICE", .left), ("IMAGE", .left), ("HEALTH", .left),
            ("SINCE", .left), ("RESTARTS", .right), ("", .left),
        ])
        var last: Machine?
        for row in status.rows {
            table.add([
                row.machine == last ? "" : row.machine.name, row.service.label,
                row.container?.image ?? "-", row.condition,
                row.container.map { String($0.startedAt.prefix(19)) + "Z" } ?? "-",
                row.container.map { "\($0.restarts)" } ?? "-", row.remark,
            ])
            last = row.machine
        }
        let well = status.rows.filter(\.isWell).count
        return table.lines + ["\(well) of \(status.rows.count) services are well"]
    }
}

/// A status as JSON.
private struct StatusDocument: Encodable {
    struct Row: Encodable {
        let machine: String
        let address: String
        let service: String
        let image: String?
        let condition: String
        let well: Bool
        let started_at: String?
        let restarts: Int?
        let remark: String?
    }

    let well: Bool
    let services: [Row]
    let problems: [String]

    init(_ status: FleetStatus) {
        well = status.isWell
        problems = status.problems
        services = status.rows.map { row in
            Row(
                machine: row.machine.name, address: row.machine.address.text,
                service: row.service.label, image: row.container?.image,
                condition: row.condition, well: row.isWell,
                started_at: row.container?.startedAt, restarts: row.container?.restarts,
                remark: row.remark.isEmpty ? nil : row.remark)
        }
    }
}
