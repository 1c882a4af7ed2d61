import Deployment
import Foundation

/// A backup of an installation on this machine.
struct BackupFolder {
    let path: String

    private static let pieceBytes = 1 << 20

    /// What of an installation's folder is made from something else, or says only what was done.
    private static let leftOut: Set<String> = ["images", "deployed"]

    func file(_ relative: String) -> String { "\(path)/\(relative)" }

    /// Makes the folder, for its owner alone.
    func make() throws {
        guard mkdir(path, 0o700) == 0 else { throw failure(path) }
    }

    /// Copies an installation's folder.
    func take(_ installation: InstallationFolder) throws -> [BackupManifest.Entry] {
        let names = try FileManager.default.contentsOfDirectory(atPath: installation.path)
        var files: [String: [UInt8]] = [:]
        for name in names where !Self.leftOut.contains(name) && !name.hasPrefix(".") {
            var isFolder: ObjCBool = false
            let full = installation.file(name)
            _ = FileManager.default.fileExists(atPath: full, isDirectory: &isFolder)
            if isFolder.boolValue {
                files.merge(try InstallationFolder.tree(name, root: installation.path)) { $1 }
            } else {
                files[name] = try installation.read(name)
            }
        }
        return try files.sorted { $0.key < $1.key }.map { relative, content in
            try write("\(BackupManifest.installationFolder)/\(relative)", content)
        }
    }

    func write(_ relative: String, _ bytes: [UInt8]) throws -> BackupManifest.Entry {
        try write(relative) { onOutput in onOutput(bytes[...]) }
    }

    /// Writes a file of what `body` gives, piece by piece, and through to the disk.
    func write(
        _ relative: String,
        _ body: (_ onOutput: @escaping (ArraySlice<UInt8>) -> Void) throws -> Void
    ) throws -> BackupManifest.Entry {
        let full = file(relative)
        try FileManager.default.createDirectory(
            atPath: URL(fileURLWithPath: full).deletingLastPathComponent().path,
            withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let descriptor = open(full, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure(full) }
        defer { close(descriptor) }
        let sink = Sink(descriptor: descriptor)
        try body { sink.add($0) }
        if let code = sink.failure {
            throw CommandFailure("\(full): \(String(cString: strerror(code)))")
        }
        guard fsync(descriptor) == 0 else { throw failure(full) }
        return BackupManifest.Entry(
            path: relative, byteCount: sink.byteCount, digest: sink.digest())
    }

    /// Writes the list and gives the folder its name.
    func finish(_ manifest: BackupManifest, as name: String) throws {
        _ = try write(BackupManifest.fileName, Array(manifest.text.utf8))
        guard rename(path, name) == 0 else { throw failure(name) }
    }

    /// Reads the list, and every file that it names.
    ///
    /// - Throws: ``CommandFailure`` when one is missing or otherwise than it was.
    func checked() throws -> BackupManifest {
        let manifest = try BackupManifest(
            parsing: String(
                decoding: try InstallationFolder.read(file(BackupManifest.fileName)), as: UTF8.self)
        )
        for entry in manifest.entries {
            guard let handle = FileHandle(forReadingAtPath: file(entry.path)) else {
                throw CommandFailure(
                    "\(path) is not whole: \(entry.path) is missing; take another backup")
            }
            var hasher = ContentHasher()
            var byteCount = 0
            while let piece = try handle.read(upToCount: Self.pieceBytes), !piece.isEmpty {
                hasher.add(Array(piece)[...])
                byteCount += piece.count
            }
            try handle.close()
            guard byteCount == entry.byteCount, hasher.digest() == entry.digest else {
                throw CommandFailure(
                    "\(path) is damaged: \(entry.path) is not what was written; take another backup"
                )
            }
        }
        for needed in [BackupManifest.databaseFile, BackupManifest.streamsFile]
        where !manifest.entries.contains(where: { $0.path == needed }) {
            throw CommandFailure("\(path) is not whole: it has no \(needed)")
        }
        return manifest
    }

    /// Puts the copy of the installation's folder where it shall be; a file that is there stays.
    func fill(_ installation: InstallationFolder, _ manifest: BackupManifest) throws {
        let prefix = "\(BackupManifest.installationFolder)/"
        for entry in manifest.entries where entry.path.hasPrefix(prefix) {
            let relative = String(entry.path.dropFirst(prefix.count))
            if installation.has(relative) { continue }
            try installation.write(relative, try InstallationFolder.read(file(entry.path)))
        }
    }

    private func failure(_ path: String) -> CommandFailure {
        CommandFailure("\(path): \(String(cString: strerror(errno)))")
    }
}

/// A file that is being written; remembers the first error, since whoever gives the bytes cannot stop for it.
private final class Sink {
    private let descriptor: Int32
    private var hasher = ContentHasher()
    private(set) var byteCount = 0
    private(set) var failure: Int32?

    init(descriptor: Int32) { self.descriptor = descriptor }

    func add(_ bytes: ArraySlice<UInt8>) {
        guard failure == nil else { return }
        hasher.add(bytes)
        byteCount += bytes.count
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR {
                failure = errno
                return
            }
        }
    }

    func digest() -> ContentDigest { hasher.digest() }
}

extension [BackupManifest.Entry] {
    var byteCount: Int { reduce(0) { $0 + $1.byteCount } }
}
