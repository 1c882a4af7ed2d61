import Deployment
import Foundation

/// The operator's folder: hosts, settings, secrets, certificates, images and what was put where.
struct InstallationFolder {
    let path: String

    var hostsFile: String { "\(path)/hosts" }
    var settingsFile: String { "\(path)/settings.env" }
    var certificates: CertificateFolder { CertificateFolder(path: "\(path)/certs") }
    var deployed: String { "\(path)/deployed" }
    var deployedHosts: String { "\(deployed)/hosts" }
    /// What is asked for before data are deleted.
    var name: String { URL(fileURLWithPath: path).standardizedFileURL.lastPathComponent }

    private static let fileByteMax = 16 << 20

    func file(_ relative: String) -> String { "\(path)/\(relative)" }

    func has(_ relative: String) -> Bool {
        FileManager.default.fileExists(atPath: file(relative))
    }

    func read(_ relative: String) throws -> [UInt8] { try Self.read(file(relative)) }

    static func read(_ path: String) throws -> [UInt8] {
        do {
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            if let size = attributes[.size] as? Int, size > fileByteMax {
                throw CommandFailure(
                    "\(path) has \(size) bytes, more than any file of an installation")
            }
            return Array(try Data(contentsOf: URL(fileURLWithPath: path)))
        } catch let error as CommandFailure {
            throw error
        } catch {
            throw CommandFailure("\(path) cannot be read: \(error.localizedDescription)")
        }
    }

    /// Writes a file in one step; the folders above it are made for the owner alone.
    func write(_ relative: String, _ bytes: [UInt8], mode: Int = 0o600) throws {
        let path = file(relative)
        let new = "\(path).new"
        do {
            try FileManager.default.createDirectory(
                atPath: URL(fileURLWithPath: path).deletingLastPathComponent().path,
                withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            try? FileManager.default.removeItem(atPath: new)
            guard
                FileManager.default.createFile(
                    atPath: new, contents: Data(bytes), attributes: [.posixPermissions: mode])
            else { throw CommandFailure("\(new) cannot be made") }
            guard rename(new, path) == 0 else {
                throw CommandFailure(
                    "\(path) cannot be replaced: \(String(cString: strerror(errno)))")
            }
        } catch let error as CommandFailure {
            throw error
        } catch {
            throw CommandFailure("\(path) cannot be written: \(error.localizedDescription)")
        }
    }

    /// All files below a folder, by their paths from `root` on; hidden ones are left out.
    static func tree(_ folder: String, root: String) throws -> [String: [UInt8]] {
        guard let paths = FileManager.default.enumerator(atPath: "\(root)/\(folder)") else {
            return [:]
        }
        var files: [String: [UInt8]] = [:]
        for case let path as String in paths
        where !path.split(separator: "/").contains(where: {
            $0.hasPrefix(".") && !$0.hasPrefix(".env")
        }) {
            var isFolder: ObjCBool = false
            let full = "\(root)/\(folder)/\(path)"
            guard FileManager.default.fileExists(atPath: full, isDirectory: &isFolder),
                !isFolder.boolValue
            else { continue }
            files["\(folder)/\(path)"] = try read(full)
        }
        return files
    }

    /// Calls `body` while no other command changes the folder.
    ///
    /// - Parameter command: As others are told.
    func whileLocked(for command: String, _ body: () throws -> Void) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        } catch {
            throw CommandFailure("\(path) cannot be made: \(error.localizedDescription)")
        }
        let now = Date.now.formatted(.iso8601)
        try FileLock.hold(
            file(".lock"), of: path, holder: "\(Self.holder(of: command)) since \(now)", body)
    }

    /// Who we are, for others who must wait.
    static func holder(of command: String) -> String {
        "\(NSUserName())@\(ProcessInfo.processInfo.hostName) (qoectl deploy \(command))"
    }

    /// What the files of machines are made from.
    func material(sources: String) throws -> FleetMaterial {
        var project: [String: [UInt8]] = [:]
        for tier in ComposeService.Tier.allCases {
            let path = "\(sources)/\(tier.file)"
            guard FileManager.default.fileExists(atPath: path) else { continue }
            project[tier.file] = try Self.read(path)
        }
        project.merge(try Self.tree("deploy", root: sources)) { $1 }
        var own: [String: [UInt8]] = [:]
        for folder in ["secrets", "certs", "probes"] {
            own.merge(try Self.tree(folder, root: path)) { $1 }
        }
        // It signs, and never leaves this machine.
        own["certs/ca.key"] = nil
        var problems: [String] = []
        func settings(_ file: String) throws -> [String: String] {
            guard has(file) else { return [:] }
            let settings = SettingsFile(
                String(decoding: try read(file), as: UTF8.self), name: "\(path)/\(file)")
            problems += settings.problems
            return settings.values
        }
        let common = try settings("settings.env")
        var machines: [String: [String: String]] = [:]
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        for name in names.sorted() where name.hasPrefix("settings.") && name.hasSuffix(".env") {
            guard name != "settings.env" else { continue }
            machines[String(name.dropFirst(9).dropLast(4))] = try settings(name)
        }
        if !problems.isEmpty { throw MaterialError(problems: problems) }
        return FleetMaterial(
            sources: project, installation: own, settings: common, machineSettings: machines)
    }

    /// Archives of `docker save` in `images/`.
    func archives() throws -> [ImageArchive] {
        let folder = file("images")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return try names.sorted().filter { $0.hasSuffix(".tar") }
            .map { try ImageArchive(reading: "\(folder)/\($0)") }
    }

    /// Paths of the files that were put on a machine.
    func earlierFiles(_ machine: Machine) -> [String] {
        guard let bytes = try? read("deployed/\(machine.name).files") else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
            line.split(separator: " ", maxSplits: 1).last.map(String.init)
        }
    }

    func note(_ files: MachineFiles) throws {
        let lines = files.files.map { "\($0.digest) \($0.path)\n" }.joined()
        let path = "deployed/\(files.machine.name).files"
        if let known = try? read(path), known == Array(lines.utf8) { return }
        try write(path, Array(lines.utf8))
    }

    /// What ran after the last apply; nil when there was none.
    func deployedInventory() throws -> Inventory? {
        guard has("deployed/hosts") else { return nil }
        do {
            return try Inventory(String(decoding: try read("deployed/hosts"), as: UTF8.self))
        } catch let error as HostsError {
            throw CommandFailure("\(deployedHosts) is damaged: \(error)")
        }
    }
}

extension ImageArchive {
    /// Reads the list in an archive (the format of `docker save`), not its layers.
    init(reading path: String) throws {
        struct Entry: Decodable {
            let Config: String
            let RepoTags: [String]?
        }
        let output: ScriptOutput
        do throws(ChildCommand.Failure) {
            output = try ChildCommand(
                "tar", ["-xOf", path, "manifest.json"], timeout: .seconds(600)
            ).run()
        } catch {
            throw CommandFailure("\(path) cannot be read: \(error)")
        }
        guard output.status == 0,
            let entries = try? JSONDecoder().decode([Entry].self, from: Data(output.output))
        else {
            throw CommandFailure(
                "\(path) is no archive of docker save: \(output.lastWords); make it anew, or take it away"
            )
        }
        var identities: [String: String] = [:]
        for entry in entries {
            let digest = entry.Config.split(separator: "/").last.map(String.init) ?? ""
            let hex = digest.hasSuffix(".json") ? String(digest.dropLast(5)) : digest
            for name in entry.RepoTags ?? [] { identities[name] = "sha256:\(hex)" }
        }
        guard !identities.isEmpty else {
            throw CommandFailure(
                "\(path) has no image with a name; save it by its name: docker save qoe:1.2 -o qoe.tar"
            )
        }
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        self.init(
            path: path, identities: identities, byteCount: attributes[.size] as? Int ?? 0)
    }
}
