import ArgumentParser
import Deployment
import OperatorCore

struct CheckMachines: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "preflight",
        abstract: "Looks whether all machines are ready, and whether who must reaches whom.",
        discussion: """
            Asks every machine by ssh: Docker and compose, free disk, memory, its clock against this machine's, and \
            ports that something else has. Then each connects to all that it must reach; where nothing listens yet, \
            a listener is opened there for the moment. What people and anyone must reach is tried from this machine. \
            Changes nothing.

            Exit codes: 0 ready, perhaps with warnings; 1 something stands in the way; 64 wrong usage; 78 something \
            is wrong with the hosts file; 130 after Ctrl-C.
            """)

    @OptionGroup var installation: InstallationOptions

    @OptionGroup var remote: RemoteOptions

    @OptionGroup var remoteFolder: RemoteFolderOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let inventory = try installation.inventory()
        try interruptibly { stop in
            var preflight = Preflight(
                inventory, remote.shell(isStopped: stop.asClosure),
                folder: try remoteFolder.folder)
            preflight.material = try installation.folder.material(sources: installation.sources)
            let report = try preflight.run()
            if json {
                try sayJSON(PreflightDocument(report))
            } else {
                say(Self.lines(report).joined(separator: "\n"))
                for finding in report.findings { complain(finding.text) }
            }
            if !report.isGood { throw ArgumentParser.ExitCode(1) }
        }
    }

    private static func lines(_ report: PreflightReport) -> [String] {
        var table = TextTable([
            ("MACHINE", .left), ("ADDRESS", .left), ("DOCKER", .left), ("COMPOSE", .left),
            ("CORES", .right), ("MEMORY", .right), ("FREE", .right), ("CLOCK", .right),
        ])
        for entry in report.entries {
            let found = entry.condition
            let free = found?.freeKiB.values.min()
            table.add([
                entry.machine.name, entry.machine.address.text, found?.dockerVersion ?? "-",
                found?.composeVersion ?? "-", found?.cores.map(String.init) ?? "-",
                found?.memoryKiB.map(size) ?? "-", free.map(size) ?? "-",
                found?.clock.map {
                    "\($0.milliseconds >= 0 ? "+" : "")\($0.milliseconds) ±\($0.uncertaintyMilliseconds) ms"
                } ?? "-",
            ])
        }
        let open = report.paths.filter { $0.state == .open }.count
        let errors = report.findings.filter { $0.severity == .error }.count
        return table.lines + [
            "\(open) of \(report.paths.count) paths are open",
            errors == 0
                ? "nothing stands in the way"
                : "\(errors) thing\(errors == 1 ? " stands" : "s stand") in the way",
        ]
    }

    private static func size(_ kibibytes: Int) -> String {
        kibibytes >= 10 << 20 ? "\(kibibytes >> 20) GiB" : "\(kibibytes >> 10) MiB"
    }
}

/// A report as JSON.
private struct PreflightDocument: Encodable {
    struct Entry: Encodable {
        let machine: String
        let address: String
        let answered: Bool
        let system: String?
        let docker: String?
        let compose: String?
        let cores: Int?
        let memory_bytes: Int?
        /// By folder.
        let free_bytes: [String: Int]?
        let clock_offset_ms: Int64?
        let clock_uncertainty_ms: Int64?
        let listening_ports: [UInt16]?
    }

    struct Path: Encodable {
        /// Absent for the machine where the command ran.
        let from: String?
        let to: String
        let address: String
        let port: UInt16
        let service: String
        let purpose: String
        let state: String
        let reason: String?
    }

    struct Finding: Encodable {
        let severity: String
        let machine: String?
        let message: String
    }

    let ready: Bool
    let machines: [Entry]
    let paths: [Path]
    let findings: [Finding]

    init(_ report: PreflightReport) {
        ready = report.isGood
        machines = report.entries.map { entry in
            let found = entry.condition
            return Entry(
                machine: entry.machine.name, address: entry.machine.address.text,
                answered: found != nil, system: found?.system, docker: found?.dockerVersion,
                compose: found?.composeVersion, cores: found?.cores,
                memory_bytes: found?.memoryKiB.map { $0 &* 1024 },
                free_bytes: found?.freeKiB.mapValues { $0 &* 1024 },
                clock_offset_ms: found?.clock?.milliseconds,
                clock_uncertainty_ms: found?.clock?.uncertaintyMilliseconds,
                listening_ports: found?.listening.sorted())
        }
        paths = report.paths.map { path in
            let (state, reason): (String, String?) =
                switch path.state {
                case .open: ("open", nil)
                case .closed(let reason): ("closed", reason)
                case .unknown(let reason): ("unknown", reason)
                }
            return Path(
                from: path.caller?.name, to: path.listener.name,
                address: path.listener.address.text, port: path.endpoint.port,
                service: path.endpoint.service.name, purpose: path.endpoint.purpose,
                state: state, reason: reason)
        }
        findings = report.findings.map {
            Finding(severity: $0.severity.rawValue, machine: $0.machine, message: $0.message)
        }
    }
}
