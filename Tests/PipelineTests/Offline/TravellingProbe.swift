import Foundation
import Glibc
import PrivateServers
import ProbeCore
import TestKit
import Telemetry
import Testing

/// One real probe that is started and killed again and again, each time at a moment of the past if wanted.
///
/// Its clocks since boot are moved by a time namespace, natively, its wall clock by a preloaded library.
final class TravellingProbe {
    /// What is wrong with the wall clock, seconds.
    enum WallError: Int64, CaseIterable {
        case none = 0
        case hourAhead = 3600
        case hourBehind = -3600
        case yearsBehind = -315_360_000
    }

    /// A life of the process.
    struct Life {
        /// How far in the past it lives, seconds.
        let secondsAgo: Int64
        /// When it lived, in the simulation's time, Unix milliseconds.
        let from: Int64
        var until = Int64.max
        /// What it calls itself; nil when it was killed before it said so.
        var session: UniqueID?
    }

    static let client = "traveller"
    /// How the machine's clocks are moved; nil when that works, else why not.
    static let obstacle: String? = findObstacle(secondsAgo: 1)

    private let folder: String
    private let token: String
    private let arguments: [String]
    private let shiftFile: String
    private var process: PrivateProcess?
    private(set) var lives: [Life] = []
    private(set) var wallSteps = 0
    private var wallError = WallError.none

    /// - Parameters:
    ///   - folder: Where its state folder and logs go.
    ///   - arguments: Of the probe, beside those that say where things are.
    init(folder: String, token: String, arguments: [String]) throws {
        self.folder = folder
        self.token = token
        self.arguments = arguments
        shiftFile = "\(folder)/wall-clock-shift"
        let written = FileManager.default.createFile(
            atPath: shiftFile, contents: Data(count: MemoryLayout<Int64>.size))
        try #require(written, "the file for the wall clock cannot be written")
    }

    var stateFolder: String { "\(folder)/state" }
    /// How the probe ended by itself, which it never should.
    var ownExit: PrivateProcess.Exit? { process?.exit }

    /// Starts the probe, `secondsAgo` in the past.
    ///
    /// - Parameter targets: As the probe is told them.
    func start(
        secondsAgo: Int64, wall: WallError, ingest: String, targets: [String],
        interval: String = "100ms"
    ) throws {
        precondition(process == nil, "it runs already")
        wallError = wall
        lives.append(
            Life(secondsAgo: secondsAgo, from: unixMilliseconds() - secondsAgo * 1000))
        writeShift()
        let probe = "\(programFolder)/probe"
        let setup = [
            "--state-dir", stateFolder, "--client-id", Self.client, "--ingest-url", ingest,
            "--interval", interval, "--metrics-listen", "127.0.0.1:0", "--max-cpu-percent", "100",
        ]
        let wanted = setup + arguments + targets.flatMap { ["--target", $0] }
        var launch = PrivateProcess.Launch(
            name: "probe", executable: probe, arguments: wanted, logFile: logFile,
            pidFile: "\(folder)/probe.pid")
        if secondsAgo != 0 {
            launch.executable = try InstalledProgram.find("unshare", debianPackage: "util-linux")
            launch.arguments = Self.timeNamespace(secondsAgo) + [probe] + wanted
            // `unshare` ignores the others.
            launch.deathSignal = .quit
        }
        launch.environment = [
            "QOE_TOKEN": token, "QOE_WALL_CLOCK_SHIFT": shiftFile,
            "LD_PRELOAD": Self.preloadedLibrary,
        ]
        process = try PrivateProcess(launch)
    }

    /// Sets the wall clock of the running probe.
    func setWall(_ error: WallError) {
        guard error != wallError else { return }
        wallError = error
        wallSteps += 1
        writeShift()
    }

    /// Kills the probe (SIGKILL) and waits until its folder is free.
    func kill() throws {
        guard let process else { return }
        try process.kill()
        try ended()
    }

    /// Asks the probe to end; only of one that lives in the present.
    func stop() throws -> PrivateProcess.Exit? {
        let exit = try process?.stop(within: .seconds(30))
        try ended()
        return exit
    }

    private func ended() throws {
        process = nil
        // `unshare` is gone before the probe that dies with it.
        let isFree = eventually { (try? StateLock(folder: stateFolder)) != nil }
        try #require(isFree, "the probe does not leave its folder")
        guard let last = lives.indices.last else { return }
        lives[last].until = unixMilliseconds() - lives[last].secondsAgo * 1000
        lives[last].session = Self.session(inLog: logFile)
    }

    private var logFile: String { "\(folder)/probe-\(lives.count).log" }

    /// The session that a probe names when it begins to measure.
    private static func session(inLog path: String) -> UniqueID? {
        let log = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        let line = log.split(separator: "\n").first { $0.contains(#""message":"measuring""#) }
        guard let name = line?.firstRange(of: #""session":""#) else { return nil }
        return line.flatMap { UniqueID($0[name.upperBound...].prefix(36)) }
    }

    private func writeShift() {
        let secondsAhead = wallError.rawValue - (lives.last?.secondsAgo ?? 0)
        var nanoseconds = secondsAhead * 1_000_000_000
        let descriptor = open(shiftFile, O_WRONLY)
        let written = pwrite(descriptor, &nanoseconds, MemoryLayout<Int64>.size, 0)
        close(descriptor)
        #expect(written == MemoryLayout<Int64>.size, "the wall clock cannot be set")
    }

    private static var preloadedLibrary: String { "\(programFolder)/libWallClockShift.so" }

    /// `unshare` waits for the probe, which the kernel kills with it.
    private static func timeNamespace(_ secondsAgo: Int64) -> [String] {
        [
            "--time", "--fork", "--kill-child=KILL", "--monotonic", "\(-secondsAgo)",
            "--boottime", "\(-secondsAgo)", "--",
        ]
    }

    private static func findObstacle(secondsAgo: Int64) -> String? {
        guard access(preloadedLibrary, R_OK) == 0 else { return "\(preloadedLibrary) is not built" }
        do {
            let folder = try makeTemporaryFolder()
            defer { removeFolder(folder) }
            let launch = PrivateProcess.Launch(
                name: "unshare",
                executable: try InstalledProgram.find("unshare", debianPackage: "util-linux"),
                arguments: timeNamespace(secondsAgo) + ["true"], logFile: "\(folder)/log",
                pidFile: "\(folder)/pid")
            let exit = try PrivateProcess(launch).waitForExit(within: .seconds(20))
            return exit == .code(0) ? nil : "time namespaces are not permitted"
        } catch {
            return "\(error)"
        }
    }
}
