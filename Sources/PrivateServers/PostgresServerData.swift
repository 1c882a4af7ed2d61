internal import Glibc

/// The folder of a PostgreSQL cluster: making it, and knowing who still uses it.
struct PostgresServerData {
    let settings: PostgresServer.Settings
    /// Who owns the data when this process is root, which PostgreSQL refuses to run as.
    let account: Account?

    init(_ settings: PostgresServer.Settings) throws(PrivateServerError) {
        self.settings = settings
        guard Account.isRoot else {
            account = nil
            return
        }
        if let postgres = try? Account(named: "postgres") {
            account = postgres
        } else {
            account = try Account(named: "nobody")
        }
    }

    /// Whether a cluster has been made here.
    var exists: Bool { access("\(settings.clusterFolder)/PG_VERSION", F_OK) == 0 }

    /// The major version that the cluster was made with.
    private var majorVersion: Substring? {
        contents(of: "\(settings.clusterFolder)/PG_VERSION")?.split(separator: "\n").first
    }

    /// The path of one of the server's programs, of the cluster's own version if it is installed.
    func program(_ name: String) throws(PrivateServerError) -> String {
        if let folder = settings.programFolder { return "\(folder)/\(name)" }
        if let found = try? InstalledProgram.find(name, debianPackage: "postgresql") {
            return found
        }
        let parent = "/usr/lib/postgresql"
        var versions = entries(of: parent).compactMap { Int($0) }.sorted(by: >)
        if let own = majorVersion.flatMap({ Int($0) }), versions.contains(own) {
            versions = [own] + versions.filter { $0 != own }
        }
        return try InstalledProgram.find(
            name, debianPackage: "postgresql",
            alsoIn: versions.isEmpty ? ["\(parent)/*/bin"] : versions.map { "\(parent)/\($0)/bin" })
    }

    /// Makes the folders, and the cluster in them unless there is one.
    func prepare() throws(PrivateServerError) {
        try makeFolder(settings.dataFolder)
        try checkReachable()
        if let socketFolder = settings.socketFolder {
            try makeFolder(socketFolder)
            try giveAway(socketFolder)
        }
        guard !exists else { return }
        try makeFolder(settings.clusterFolder)
        try giveAway(settings.clusterFolder)
        chmod(settings.clusterFolder, 0o700)
        if let primaryURL = settings.primaryURL {
            try copy(from: primaryURL)
        } else {
            try initialize()
        }
    }

    /// Copies a running primary and has the copy follow it (manual, "pg_basebackup").
    private func copy(from primaryURL: String) throws(PrivateServerError) {
        // A slot of its own, so that the primary keeps what this replica has not got yet.
        let slot = "replica_\(String(UInt64.random(in: .min ... .max), radix: 36))"
        var arguments = [
            "--pgdata", settings.clusterFolder, "--dbname", primaryURL, "--write-recovery-conf",
            "--wal-method", "stream", "--create-slot", "--slot", slot, "--checkpoint", "fast",
        ]
        if !settings.isDurable { arguments.append("--no-sync") }
        try run("pg_basebackup", arguments)
    }

    private func initialize() throws(PrivateServerError) {
        var arguments = [
            "--pgdata", settings.clusterFolder, "--username", "postgres", "--encoding", "UTF8",
            // The order of bytes is the order of names, here as in our programs.
            "--locale", "C",
        ]
        switch settings.authentication {
        case .trust: arguments += ["--auth", "trust"]
        case .password:
            try makePasswordFile()
            arguments += ["--auth", "scram-sha-256", "--pwfile", settings.passwordFile]
        }
        if !settings.isDurable { arguments.append("--no-sync") }
        try run("initdb", arguments)
    }

    /// Runs one of PostgreSQL's programs that make a cluster, until it has ended well.
    private func run(_ name: String, _ arguments: [String]) throws(PrivateServerError) {
        let log = "\(settings.dataFolder)/\(name).log"
        var launch = PrivateProcess.Launch(
            name: name, executable: try program(name), arguments: arguments, logFile: log,
            pidFile: "\(settings.dataFolder)/\(name).pid")
        launch.account = account
        let process = try PrivateProcess(launch)
        let limit = Duration.seconds(60)
        guard let exit = process.waitForExit(within: limit) else {
            try process.kill()
            throw .notReady(name: name, after: limit, log: log)
        }
        guard exit == .code(0) else {
            throw .ended(name: name, exit: exit, log: log, lastWords: lastLines(of: log))
        }
    }

    /// The password of the superuser and of our role, in hexadecimal.
    func password() throws(PrivateServerError) -> String? {
        guard case .password = settings.authentication else { return nil }
        guard let line = contents(of: settings.passwordFile)?.split(separator: "\n").first else {
            throw .file(path: settings.passwordFile, reason: "cannot be read")
        }
        return String(line)
    }

    private func makePasswordFile() throws(PrivateServerError) {
        let path = settings.passwordFile
        unlink(path)
        // Made closed, so that nobody can open it between writing and closing it.
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw .file(path: path, reason: String(cString: strerror(errno)))
        }
        close(descriptor)
        var random = SystemRandomNumberGenerator()
        let halves = (0..<2).map { _ in
            let digits = String(random.next(), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        try write(halves.joined() + "\n", to: path)
        try giveAway(path)
    }

    /// Waits until no process of an earlier server works on the data, then removes what a killed
    /// one left behind.
    ///
    /// PostgreSQL itself refuses to start when the process id in its `postmaster.pid` has gone to
    /// some other process of the same account, as after a reboot. The backends of a killed
    /// server live on for a moment, and only their working folder tells.
    func awaitRelease() throws(PrivateServerError) {
        let limit = Duration.seconds(10)
        let deadline = ContinuousClock.now + limit
        while let user = usingProcess() {
            guard ContinuousClock.now < deadline else {
                throw .alreadyRunning(
                    name: "postgres", processIdentifier: user,
                    pidFile: "\(settings.clusterFolder)/postmaster.pid")
            }
            usleep(10_000)
        }
        unlink("\(settings.clusterFolder)/postmaster.pid")
    }

    /// A process whose working folder is the cluster; every process of a server has it there.
    private func usingProcess() -> Int32? {
        guard let cluster = realpath(settings.clusterFolder, nil) else { return nil }
        defer { free(cluster) }
        for entry in entries(of: "/proc") {
            guard let pid = Int32(entry) else { continue }
            guard let folder = realpath("/proc/\(pid)/cwd", nil) else { continue }
            defer { free(folder) }
            if strcmp(folder, cluster) == 0 { return pid }
        }
        return nil
    }

    private func giveAway(_ path: String) throws(PrivateServerError) {
        guard let account else { return }
        guard chown(path, account.userIdentifier, account.groupIdentifier) == 0 else {
            throw .file(path: path, reason: String(cString: strerror(errno)))
        }
    }

    /// Whether the account can pass through every folder above the data.
    private func checkReachable() throws(PrivateServerError) {
        guard let account else { return }
        var path = ""
        for component in settings.dataFolder.split(separator: "/") {
            path += "/\(component)"
            var status = stat()
            guard stat(path, &status) == 0 else {
                throw .file(path: path, reason: String(cString: strerror(errno)))
            }
            let isOpen =
                status.st_mode & S_IXOTH != 0
                || (status.st_uid == account.userIdentifier && status.st_mode & S_IXUSR != 0)
                || (status.st_gid == account.groupIdentifier && status.st_mode & S_IXGRP != 0)
            guard isOpen else {
                throw .file(
                    path: path,
                    reason: "account \(account.name), which runs PostgreSQL, cannot pass: "
                        + "chmod o+x, or use a data folder elsewhere")
            }
        }
    }

    private func entries(of folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) { name in
                    name.withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
                })
        }
        return names
    }

    private func contents(of path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = fread(&buffer, 1, buffer.count, file)
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }
}
