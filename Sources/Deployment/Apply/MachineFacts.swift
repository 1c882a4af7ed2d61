/// What a machine is and has, as it said.
package struct MachineFacts: Sendable, Equatable {
    /// A container of ours.
    package struct Container: Sendable, Hashable {
        /// Of its settings, by compose.
        package let configHash: String
        /// The image's identity.
        package let image: String
        /// Such as `running`, `exited`.
        package let state: String
        /// `healthy`, `starting`, `unhealthy`; `none` when it has no check.
        package let health: String
        package let restarts: Int
        /// Empty when it did not say.
        package let imageName: String

        package var isWell: Bool {
            state == "running" && (health == "healthy" || health == "none")
        }
    }

    package var dockerVersion: String?
    /// Why docker does not answer.
    package var dockerProblem: String?
    package var composeVersion: String?
    package var freeKiB: Int?
    /// By their paths below the folder.
    package var files: [String: FileFingerprint] = [:]
    /// Of our block in /etc/hosts; nil when there is none.
    package var hostsDigest: String?
    /// Identities, by name.
    package var images: [String: String] = [:]
    /// Identities that the archives had which were loaded, by name.
    package var loaded: [String: String] = [:]
    /// By project and service.
    package var containers: [String: Container] = [:]
    /// What compose says that the hashes shall be, by project and service.
    package var wantedHashes: [String: String] = [:]
    /// Why compose did not say so, by tier.
    package var composeProblems: [String: String] = [:]
    package var dataFolders: [String: FileFingerprint] = [:]
    /// Whether a running database server is the primary now, by project and service.
    package var isPrimary: [String: Bool] = [:]
    /// Commands that our scripts need and that are not there.
    package var missingCommands: [String] = []

    /// Reads the answer to ``AskScript``: lines of a word and what it is about, separated by tabs.
    ///
    /// What is not understood is left alone: a login may say things of its own.
    package init(_ answer: String) {
        for line in answer.split(separator: "\n") {
            let parts = line.split(separator: "\t", omittingEmptySubsequences: false).map(
                String.init)
            guard parts.count >= 2 else { continue }
            read(parts)
        }
    }

    private mutating func read(_ parts: [String]) {
        func part(_ index: Int) -> String { index < parts.count ? parts[index] : "" }
        switch parts[0] {
        case "docker": dockerVersion = part(1)
        case "docker-problem": dockerProblem = part(1)
        case "compose": composeVersion = part(1)
        case "free": freeKiB = Int(part(1))
        case "hosts": hostsDigest = part(1)
        case "mode":
            guard let mode = UInt16(part(1), radix: 8), let owner = UInt32(part(2)) else { return }
            let path = Self.relative(part(3))
            files[path] = FileFingerprint(
                digest: files[path]?.digest ?? "", mode: mode, owner: owner)
        case "data":
            guard let mode = UInt16(part(1), radix: 8), let owner = UInt32(part(2)) else { return }
            dataFolders[part(3)] = FileFingerprint(digest: "", mode: mode, owner: owner)
        case "sum":
            // sha256sum: digest, two characters, path.
            guard part(1).utf8.count > 66 else { return }
            let path = Self.relative(String(part(1).dropFirst(66)))
            let known = files[path]
            files[path] = FileFingerprint(
                digest: String(part(1).prefix(64)), mode: known?.mode ?? 0,
                owner: known?.owner ?? 0)
        case "image": images[part(1)] = part(2)
        case "loaded": loaded[part(1)] = part(2)
        case "container":
            containers[part(1)] = Container(
                configHash: part(2), image: part(3), state: part(4), health: part(5),
                restarts: Int(part(6)) ?? 0, imageName: part(7))
        case "hash":
            let words = part(2).split(separator: " ")
            guard words.count == 2 else { return }
            wantedHashes["\(part(1))/\(words[0])"] = String(words[1])
        case "recovery": isPrimary[part(1)] = ["f": true, "t": false][part(2)]
        case "missing": missingCommands.append(PrintableText.line(part(1)))
        case "hash-problem": composeProblems[part(1)] = part(2)
        default: break
        }
    }

    private static func relative(_ path: String) -> String {
        path.hasPrefix("./") ? String(path.dropFirst(2)) : path
    }
}
