/// A limit that a compose file sets for a service, and that a machine may be too small for.
package struct ResourceLimit: Sendable, Hashable {
    package enum Kind: Sendable, Hashable {
        /// `cpus`: Docker refuses more than there are.
        case processors
        /// `nofile`: a container does not start with more than Docker may give.
        case openFiles
    }

    package let kind: Kind
    /// The label of whom it is for.
    package let service: String
    /// Sets it in settings.env.
    package let variable: String
    package let amount: Double
    /// As it is written.
    package let text: String
    /// Whether the operator has set it; else it is the compose file's default.
    package let isSet: Bool

    /// Nil when the text is no number.
    package init?(_ kind: Kind, service: String, variable: String, text: String, isSet: Bool) {
        guard let amount = Double(text) else { return nil }
        self.kind = kind
        self.service = service
        self.variable = variable
        self.amount = amount
        self.text = text
        self.isSet = isSet
    }

    /// Those of a machine's services, from settings and the compose files' defaults.
    package static func all(of machine: Machine, _ material: FleetMaterial) -> [ResourceLimit] {
        let settings = material.settings(of: machine)
        return material.services(of: machine).flatMap { service -> [ResourceLimit] in
            let file = material.text(service.tier.file) ?? ""
            let name = Self.name(of: service)
            let variables = [
                (kind: Kind.processors, name: "\(name)_CPUS"),
                (kind: .openFiles, name: "\(name)_OPEN_FILES"),
            ]
            return variables.compactMap { variable -> ResourceLimit? in
                // One that the file does not read limits nothing.
                guard let fallback = FleetMaterial.fallback(of: variable.name, in: file) else {
                    return nil
                }
                let own = settings[variable.name]
                return ResourceLimit(
                    variable.kind, service: service.label, variable: variable.name,
                    text: own ?? fallback, isSet: own != nil)
            }
        }
    }

    /// How the compose files' variables call a service.
    private static func name(of service: ComposeService) -> String {
        switch service.name {
        case ComposeService.carrierName: "NATS_TLS"
        case "postgres-primary", "postgres-replica": "POSTGRES"
        case "otel-collector": "OTEL"
        case _ where service.service.role == .nats: "NATS"
        default: service.name.uppercased()
        }
    }
}

/// What a machine's Docker can give to one container.
package struct MachineCapacity: Sendable, Hashable {
    /// Nil when it did not say; then nothing is too much.
    package var processors: Int?
    package var openFiles: Int?

    package init(processors: Int? = nil, openFiles: Int? = nil) {
        self.processors = processors
        self.openFiles = openFiles
    }

    /// Reads the lines of ``script``; what is not understood is left alone.
    package init(_ answer: String) {
        for line in answer.split(separator: "\n") {
            let parts = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard parts.count > 1 else { continue }
            read(String(parts[0]), String(parts[1]))
        }
    }

    mutating func read(_ word: String, _ value: String) {
        guard let number = Int(value), number > 0 else { return }
        switch word {
        case "processors": processors = number
        case "open-files": openFiles = number
        default: break
        }
    }

    /// Says it; needs no more than awk. A daemon that may raise limits is bound by the kernel's alone (setrlimit(2):
    /// CAP_SYS_RESOURCE is bit 24).
    static let script = """
        n=$(docker info --format '{{.NCPU}}' 2>/dev/null)
        [ "${n:-0}" -gt 0 ] 2>/dev/null || n=$(getconf _NPROCESSORS_ONLN)
        printf 'processors\\t%s\\n' "$n"
        p=$(cat /run/docker.pid 2>/dev/null || pidof dockerd)
        if [ -r "/proc/$p/limits" ]; then
            n=$(awk '/^Max open files/ { print $5 }' "/proc/$p/limits")
            case "$(awk '/^CapEff:/ { print substr($2, length($2) - 6, 1) }' "/proc/$p/status")" in
                [13579bdf]) n=$(cat /proc/sys/fs/nr_open) ;;
            esac
            printf 'open-files\\t%s\\n' "$n"
        fi

        """

    /// The most of a kind; nil when nothing is known.
    package func most(_ kind: ResourceLimit.Kind) -> Int? {
        switch kind {
        case .processors: processors
        case .openFiles: openFiles
        }
    }

    /// The most, where the limit is above it.
    package func exceeded(by limit: ResourceLimit) -> Int? {
        most(limit.kind).flatMap { limit.amount > Double($0) ? $0 : nil }
    }

    /// What stands in the way: limits that the operator has set too high.
    package func problems(_ limits: [ResourceLimit], on machine: Machine) -> [String] {
        limits.filter(\.isSet).compactMap { limit in
            guard let most = exceeded(by: limit) else { return nil }
            let what =
                limit.kind == .processors
                ? "docker refuses a limit of \(limit.text) processors for \(limit.service) on \(most)"
                : "docker cannot give \(limit.service) \(limit.text) open files, but \(most)"
            return
                "\(what); put \(limit.variable)=\(most) into settings.\(machine.name).env, or take the setting away"
        }
    }

    /// What is less than a service was made for, and goes on all the same.
    package func warnings(_ limits: [ResourceLimit]) -> [String] {
        limits.filter { !$0.isSet && $0.kind == .openFiles }.compactMap { limit in
            exceeded(by: limit).map { most in
                "\(limit.service) gets \(most) open files instead of \(limit.text), which is all that docker can give; "
                    + "raise docker's own limit (LimitNOFILE of docker.service)"
            }
        }
    }
}
