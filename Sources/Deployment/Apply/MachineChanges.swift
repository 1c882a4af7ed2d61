/// What must be done on a machine, from what it shall be and what it is. Depends on nothing else.
package struct MachineChanges: Sendable {
    package enum Start: Sendable, Hashable {
        /// It is not there, or does not run.
        case start
        /// It runs with other settings, files or another image.
        case renew(reason: String)
        /// It runs as it shall, but is not healthy (yet).
        case await
        case nothing
    }

    /// What it shall be.
    package let wanted: MachineFiles
    package var machine: Machine { wanted.machine }
    package let files: [RenderedFile]
    /// Paths of files that an earlier apply put there and that are not wanted any more.
    package let removals: [String]
    package let changesHosts: Bool
    package let images: [ImageArchive]
    package let dataFolders: [RenderedFolder]
    package let starts: [(service: ComposeService, start: Start)]
    /// Services that have a container, whether it runs or not, by their keys.
    package let existing: Set<String>
    /// Whether a database server is the primary now, by its key, where it said so.
    package let isPrimary: [String: Bool]
    /// What stands in the way.
    package let problems: [String]
    /// What does not, but is not as it should be.
    package let warnings: [String]

    /// - Parameters:
    ///   - archives: Images that the operator has.
    ///   - earlier: Paths of the files that an earlier apply put there.
    ///   - capacity: What its Docker can give.
    package init(
        _ wanted: MachineFiles, hostsLines: String, facts: MachineFacts, archives: [ImageArchive],
        earlier: [String], capacity: MachineCapacity = MachineCapacity()
    ) {
        self.wanted = wanted
        files = wanted.files.filter { facts.files[$0.path] != $0.fingerprint }
        let paths = Set(wanted.files.map(\.path))
        removals = earlier.filter { !paths.contains($0) && facts.files[$0] != nil }
        changesHosts =
            facts.hostsDigest != ContentDigest(HostsBlock.text(hostsLines)).hex
        dataFolders = wanted.dataFolders.filter { facts.dataFolders[$0.path]?.owner != $0.owner }
        var needed: [ImageArchive] = []
        var problems: [String] = []
        existing = Set(facts.containers.keys)
        isPrimary = facts.isPrimary
        if let problem = RequiredCommands.problem(missing: facts.missingCommands) {
            // The rest of the answer means nothing.
            images = []
            starts = []
            warnings = []
            self.problems = [problem]
            return
        }
        for name in Set(wanted.images.values).sorted() {
            let tagged = Self.tagged(name)
            guard let archive = archives.first(where: { $0.identities[tagged] != nil }) else {
                continue
            }
            let identity = archive.identities[tagged]
            let there = facts.images[name]
            let isCurrent =
                there != nil && (there == identity || facts.loaded[tagged] == identity)
            if !isCurrent, !needed.contains(archive) { needed.append(archive) }
        }
        images = needed
        if facts.dockerVersion == nil {
            problems.append(
                "docker does not answer there: \(facts.dockerProblem ?? "it said nothing"); install it (apt "
                    + "install docker.io) and start it")
        } else if (facts.composeVersion ?? "").isEmpty {
            problems.append(
                "docker has no compose there; install compose 2 (docker-compose-plugin)")
        }
        let bytes = needed.reduce(0) { $0 + $1.byteCount }
        // An image is there packed and unpacked for a moment.
        let neededKiB = Self.freeKiBMin + 2 * bytes / 1024
        if let free = facts.freeKiB, free < neededKiB {
            problems.append(
                "/var/lib has \(free / 1024) MiB free, and \(neededKiB / 1024) MiB are needed; make room"
            )
        }
        for (tier, problem) in facts.composeProblems.sorted(by: { $0.key < $1.key }) {
            problems.append("compose does not take docker-compose.\(tier).yml: \(problem)")
        }
        self.problems = problems + capacity.problems(wanted.limits, on: wanted.machine)
        warnings = capacity.warnings(wanted.limits)
        starts = wanted.services.map { service in
            (
                service,
                Self.start(
                    service, wanted.images[service.key] ?? "", facts,
                    loads: needed.contains { archive in
                        archive.identities[Self.tagged(wanted.images[service.key] ?? "")] != nil
                    })
            )
        }
    }

    /// Enough for logs and the streams' first hours.
    private static let freeKiBMin = 1 << 20

    /// A name without a tag means `latest`.
    package static func tagged(_ name: String) -> String {
        let last = name.split(separator: "/").last ?? ""
        return last.contains(":") || last.contains("@") ? name : "\(name):latest"
    }

    private static let newImage = "new image"

    /// What an apply of these phases would do to the schema first, in a line; nil when that is as the programs want it.
    package static func migration(
        _ changes: [MachineChanges], in phases: [Phase] = Phase.allCases
    ) -> String? {
        guard phases.contains(.processing),
            let place = changes.first(where: { $0.wanted.migrates })
        else { return nil }
        var isNew = false
        var hasRun = false
        for change in changes {
            for (service, start) in change.starts
            where service.phase == .processing && service.image == .qoe {
                isNew = isNew || start == .renew(reason: newImage)
                hasRun = hasRun || change.existing.contains(service.key)
            }
        }
        guard isNew || !hasRun else { return nil }
        let image = place.wanted.services.first { $0.image == .qoe }
            .flatMap { place.wanted.images[$0.key] }
        return "schema: migrate runs before the programs, on \(place.machine.name)"
            + (image.map { ", of \($0)" } ?? "")
    }

    private static func start(
        _ service: ComposeService, _ image: String, _ facts: MachineFacts, loads: Bool
    ) -> Start {
        guard let container = facts.containers[service.key] else { return .start }
        if loads { return .renew(reason: newImage) }
        if let there = facts.images[image], there != container.image {
            return .renew(reason: newImage)
        }
        if !container.imageName.isEmpty, container.imageName != image {
            return .renew(reason: newImage)
        }
        if let hash = facts.wantedHashes[service.key], hash != container.configHash {
            return .renew(reason: "changed settings or files")
        }
        if container.state != "running" { return .start }
        return container.isWell ? .nothing : .await
    }

    /// Whether an apply of these phases would change nothing.
    package func isNothing(in phases: [Phase]) -> Bool { lines(in: phases).isEmpty }

    /// What an apply of these phases would do, a line for each change; none when none of the phases is here.
    package func lines(in phases: [Phase] = Phase.allCases) -> [String] {
        let starts = starts.filter { phases.contains($0.service.phase) }
        if starts.isEmpty { return [] }
        var lines: [String] = []
        if !files.isEmpty {
            lines.append("files: \(files.map(\.path).joined(separator: ", "))")
        }
        if !removals.isEmpty { lines.append("removes: \(removals.joined(separator: ", "))") }
        if changesHosts { lines.append("/etc/hosts: our block") }
        lines += dataFolders.map { "folder: \($0.path), owner \($0.owner)" }
        lines += images.map { "image: \($0.names.joined(separator: ", ")) of \($0.path)" }
        for (service, start) in starts {
            switch start {
            case .start: lines.append("starts \(service.label)")
            case .renew(let reason): lines.append("starts \(service.label) anew: \(reason)")
            case .await: lines.append("waits for \(service.label), which is not healthy yet")
            case .nothing: break
            }
        }
        return lines
    }
}

/// An archive of `docker save` in the operator's folder.
package struct ImageArchive: Sendable, Hashable {
    package let path: String
    /// Of each image, by its name with a tag, the digest of its configuration, `sha256:…`, which is its identity in
    /// most engines.
    package let identities: [String: String]
    package let byteCount: Int

    package init(path: String, identities: [String: String], byteCount: Int) {
        self.path = path
        self.identities = identities
        self.byteCount = byteCount
    }

    package var names: [String] { identities.keys.sorted() }
}
