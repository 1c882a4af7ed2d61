internal import Foundation
internal import Postgres
internal import PrivateServers

/// One of PostgreSQL's own programs, such as `pg_dump`.
struct PostgresTool {
    let path: String
    /// Such as 15.
    let majorVersion: Int

    private static let debianFolder = "/usr/lib/postgresql"

    /// The program `name` of the server's major version, or else of the next newer one.
    ///
    /// An older one refuses a newer server, and a much newer one may write what an older server does not
    /// understand.
    ///
    /// - Throws: ``OperatorError`` with the Debian package.
    static func find(_ name: String, serverVersion: Int) throws -> PostgresTool {
        let wanted = serverVersion / 10_000
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: debianFolder)) ?? []
        var found: [PostgresTool] = []
        for version in versions.compactMap({ Int($0) }) {
            let path = "\(debianFolder)/\(version)/bin/\(name)"
            if access(path, X_OK) == 0 {
                found.append(PostgresTool(path: path, majorVersion: version))
            }
        }
        if !found.contains(where: { $0.majorVersion == wanted }),
            let path = try? InstalledProgram.find(name, debianPackage: "postgresql-client"),
            let version = try? version(of: path)
        {
            found.append(PostgresTool(path: path, majorVersion: version))
        }
        let usable = found.filter { $0.majorVersion >= wanted }
        if let best = usable.min(by: { $0.majorVersion < $1.majorVersion }) { return best }
        let others = found.map { "\($0.majorVersion)" }.joined(separator: ", ")
        throw OperatorError(
            "\(name) of PostgreSQL \(wanted) or newer was not found in PATH and \(debianFolder)/*/bin"
                + (others.isEmpty ? "" : " (there is \(others))")
                + "; install it: apt install postgresql-client-\(wanted)")
    }

    /// `pg_dump (PostgreSQL) 15.20 (Debian …)`.
    private static func version(of path: String) throws -> Int? {
        try ToolFolder.with { folder in
            let tool = PostgresTool(path: path, majorVersion: 0)
            let output = try tool.run(["--version"], in: folder, stop: try StopRequest())
            let words = output.split(whereSeparator: \.isWhitespace)
            return words.lazy.compactMap { Int($0.prefix { $0.isNumber }) }.first
        }
    }

    /// Runs the program until it ends, and returns what it printed. Blocks.
    ///
    /// - Throws: ``OperatorError`` with its last words when it fails; ``Stopped``, once it has been stopped.
    @discardableResult
    func run(
        _ arguments: [String], environment: [String: String] = [:], in folder: ToolFolder,
        stop: StopRequest
    ) throws -> String {
        let name = URL(fileURLWithPath: path).lastPathComponent
        let log = folder.file("\(name).log")
        var launch = PrivateProcess.Launch(
            name: name, executable: path, arguments: arguments, logFile: log,
            pidFile: folder.file("\(name).pid"))
        launch.environment = environment.merging(["LC_ALL": "C"]) { $1 }
        let process = try PrivateProcess(launch)
        while true {
            if let exit = process.waitForExit(within: Self.stopPoll) {
                let output = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
                try? FileManager.default.removeItem(atPath: log)
                guard exit == .code(0) else {
                    let words = output.split(separator: "\n").suffix(Self.lastWordsMax)
                    throw OperatorError(
                        "\(name) \(exit): "
                            + PayloadText.printable(
                                words.joined(separator: "\n"), keepsLines: true))
                }
                return output
            }
            if stop.wasGiven {
                try process.stop()
                throw Stopped()
            }
        }
    }

    /// How often a wait looks whether it shall end.
    private static let stopPoll = Duration.milliseconds(100)
    /// Lines of a failed program that are shown.
    private static let lastWordsMax = 6
}

/// A folder for what one of PostgreSQL's programs writes by the way; nobody else can read it.
struct ToolFolder {
    private let path: String

    static func with<Result>(_ body: (ToolFolder) throws -> Result) throws -> Result {
        var template = Array((NSTemporaryDirectory() + "/qoectl-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else {
            throw OperatorError(
                "cannot make a folder in \(NSTemporaryDirectory()): "
                    + String(cString: strerror(errno)))
        }
        let path = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try body(ToolFolder(path: path))
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }
}
