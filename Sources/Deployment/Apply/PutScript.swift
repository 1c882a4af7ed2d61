/// Puts files where they belong: each in one step, whatever happens meanwhile.
struct PutScript {
    let folder: RemoteFolder
    let changes: MachineChanges
    let wanted: MachineFiles
    let hostsLines: String

    var input: [UInt8] { TarArchive.bytes(changes.files, folders: wanted.folders) }

    var text: String {
        // Folders first: those of the archive keep their owners only where they are unpacked.
        var moves: [String] = []
        var known: Set<String> = []
        for file in changes.files {
            for path in file.folders where known.insert(path).inserted {
                let own = wanted.folders.first { $0.path == path }
                moves.append("mkdir -p \(shellQuoted(path))")
                moves.append(
                    "chmod \(String(own?.mode ?? 0o755, radix: 8)) \(shellQuoted(path))")
                moves.append("chown \(own?.owner ?? 0):\(own?.owner ?? 0) \(shellQuoted(path))")
            }
            moves.append("mv -f \(shellQuoted("state/new/\(file.path)")) \(shellQuoted(file.path))")
        }
        moves += changes.removals.map { "rm -f \(shellQuoted($0))" }
        let data = changes.dataFolders.flatMap { wanted in
            [
                "mkdir -p \(shellQuoted(wanted.path))",
                "chown \(wanted.owner):\(wanted.owner) \(shellQuoted(wanted.path))",
                "chmod \(String(wanted.mode, radix: 8)) \(shellQuoted(wanted.path))",
            ]
        }
        return """
            set -e
            umask 077
            mkdir -p \(folder.path)
            chmod 700 \(folder.path)
            cd \(folder.path)
            rm -rf state/new
            mkdir -p state/new
            # With the time of now: who reads a file again goes by it.
            tar -xpmf - --numeric-owner -C state/new
            \((moves + data).joined(separator: "\n"))
            rm -rf state/new
            \(changes.changesHosts ? HostsBlock.script(hostsLines) : "")exit 0

            """
    }
}
