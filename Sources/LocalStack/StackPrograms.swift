internal import Glibc
internal import PrivateServers

/// The platform's own programs as children of a local stack.
final class StackPrograms {
    private let folder: StackFolder
    /// Where the executables lie.
    private let programFolder: String
    private var running: [PrivateProcess] = []

    init(folder: StackFolder, programFolder: String) throws(LocalStackError) {
        self.folder = folder
        self.programFolder = programFolder
        for program in ["ingest", "aggregator", "diagnoser", "probe"]
        where access("\(programFolder)/\(program)", X_OK) != 0 {
            throw LocalStackError(
                "\(programFolder)/\(program) is missing: build it with 'swift build -c release', or "
                    + "name the folder of the programs with --programs-dir")
        }
    }

    /// Starts a program; `name` tells instances of one program apart.
    func start(
        _ program: String, name: String, arguments: [String], environment: [String: String]
    ) throws(LocalStackError) {
        unlink(folder.portFile(of: name))
        var launch = PrivateProcess.Launch(
            name: name, executable: "\(programFolder)/\(program)",
            arguments: arguments + [
                "--log-format", "text", "--port-file", folder.portFile(of: name),
            ],
            logFile: folder.log(of: name), pidFile: folder.pidFile(of: name))
        launch.environment = environment
        do throws(PrivateServerError) {
            running.append(try PrivateProcess(launch))
        } catch {
            throw LocalStackError("cannot start \(name): \(error)")
        }
    }

    /// The address of a program's listener, once it is bound.
    ///
    /// - Throws: When the program ends first, with its last words, or takes longer than `limit`.
    func address(
        of listener: String, in name: String, within limit: Duration
    ) throws(LocalStackError) -> String {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            let lines = StackFolder.contents(of: folder.portFile(of: name)) ?? ""
            for line in lines.split(separator: "\n") where line.hasPrefix("\(listener)=") {
                return String(line.dropFirst(listener.count + 1))
            }
            try checkRunning()
            usleep(20_000)
        }
        throw LocalStackError(
            "\(name) did not listen within \(limit); its log is \(folder.log(of: name))")
    }

    /// - Throws: When a program has ended by itself, with its last words.
    func checkRunning() throws(LocalStackError) {
        for process in running {
            guard let exit = process.exit else { continue }
            let log = process.launch.logFile
            throw LocalStackError(
                "\(process.launch.name) \(exit). The end of \(log):\n\(lastLines(of: log))")
        }
    }

    /// Asks the programs whose names begin with `prefix` to end, all at once, and waits for them.
    func stop(_ prefix: String) throws(LocalStackError) {
        let leaving = running.filter { $0.launch.name.hasPrefix(prefix) }
        running.removeAll { $0.launch.name.hasPrefix(prefix) }
        for process in leaving { process.signal(SIGTERM) }
        var failure: PrivateServerError?
        for process in leaving {
            do throws(PrivateServerError) {
                try process.stop(within: .seconds(20))
            } catch {
                failure = error
            }
        }
        if let failure { throw LocalStackError("\(failure)") }
    }

    private func lastLines(of log: String) -> String {
        guard let file = fopen(log, "r") else { return "(no log)" }
        defer { fclose(file) }
        let length = 4096
        fseek(file, -length, SEEK_END)
        var buffer = [UInt8](repeating: 0, count: length)
        let count = fread(&buffer, 1, length, file)
        let lines = String(decoding: buffer.prefix(count), as: UTF8.self)
            .split(separator: "\n").suffix(8)
        return lines.map { "  \($0)" }.joined(separator: "\n")
    }
}
