/// All that the files of machines are made from, besides the inventory.
package struct FleetMaterial: Sendable {
    /// `docker-compose.….yml` and `deploy/…` of the project, by their paths.
    package var sources: [String: [UInt8]]
    /// `secrets/…`, `certs/…` and `probes/…` of the operator's folder, by their paths.
    package var installation: [String: [UInt8]]
    /// For all machines.
    package var settings: [String: String]
    /// For the machine that has the service of that name; they go before the others.
    package var machineSettings: [String: [String: String]]

    package init(
        sources: [String: [UInt8]], installation: [String: [UInt8]],
        settings: [String: String] = [:], machineSettings: [String: [String: String]] = [:]
    ) {
        self.sources = sources
        self.installation = installation
        self.settings = settings
        self.machineSettings = machineSettings
    }

    /// Those of one machine.
    package func settings(of machine: Machine) -> [String: String] {
        machine.services.reduce(settings) { all, service in
            all.merging(machineSettings[service.name] ?? [:]) { $1 }
        }
    }

    /// A setting of ours, and no variable of a compose file: which monitoring services run.
    package static let monitoringSetting = "QOE_MONITORING"

    /// What runs on a machine: all, but of the monitoring what the setting names (`prometheus,grafana`, or `none`).
    package func services(of machine: Machine) -> [ComposeService] {
        guard let named = settings(of: machine)[Self.monitoringSetting] else {
            return machine.composeServices
        }
        let wanted = Set(named.split { $0 == "," || $0 == " " }.map(String.init))
        return machine.composeServices.filter {
            $0.tier != .monitoring || wanted.contains($0.name)
        }
    }

    /// The image of a service: of the settings, else the compose file's default.
    package func image(of service: ComposeService, on machine: Machine) -> String {
        let name = service.image.rawValue
        return settings(of: machine)[name]
            ?? Self.fallback(of: name, in: text(service.tier.file) ?? "") ?? "qoe"
    }

    func text(_ source: String) -> String? {
        sources[source].map { String(decoding: $0, as: UTF8.self) }
    }

    /// What a compose file takes for a variable that is not set.
    static func fallback(of name: String, in composeFile: String) -> String? {
        guard let start = composeFile.firstRange(of: "${\(name):-") else { return nil }
        return String(composeFile[start.upperBound...].prefix { $0 != "}" })
    }
}

/// Files are missing or wrong: a line for each.
package struct MaterialError: Error, Sendable, CustomStringConvertible {
    package let problems: [String]

    package init(problems: [String]) { self.problems = problems }

    package var description: String { problems.joined(separator: "\n") }
}
