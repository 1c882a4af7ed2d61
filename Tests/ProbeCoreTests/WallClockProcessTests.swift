import Foundation
import Glibc
import PrivateServers
import ProbeCore
import TestKit
import Testing
import Transport

/// Where this build's executables lie: beside the test bundle.
var programFolder: String {
    let bundle = CommandLine.arguments.first { $0.contains(".xctest") }
    let folder = bundle.map { URL(fileURLWithPath: $0.components(separatedBy: ".xctest")[0]) }
    let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    return folder?.deletingLastPathComponent().path ?? root.appending(path: ".build/debug").path
}

/// A real probe on a machine whose wall clock is wrong and is set while it runs.
@Suite struct WallClockProcessTests {
    private struct Timed: Decodable {
        let ts_ms: Int64
        let clock_offset_ms: Double?
        let seq: UInt64
    }

    /// How far an event's time may be from that of its post: gathering, and cores that are busy with other tests.
    private static let apartMilliseconds: Int64 = 120_000

    private static func times(_ request: ScriptedIngest.Request) -> [Timed] {
        request.body.split(separator: UInt8(ascii: "\n")).compactMap {
            try? JSONDecoder().decode(Timed.self, from: Data($0))
        }
    }

    /// Tells the true time, and takes only events that were measured just now.
    private static func answer(_ request: ScriptedIngest.Request) -> ScriptedIngest.Reply {
        let now = WallClock.nowNanoseconds() / 1000
        if request.path == "/api/v1/time" {
            return .answer(
                200, body: #"{"status":"ok","server_recv_us":\#(now),"server_send_us":\#(now)}"#)
        }
        guard request.path == "/api/v1/events" else { return .accepted }
        let rejected = times(request).enumerated().filter {
            abs($0.element.ts_ms - now / 1000) > apartMilliseconds
        }.map { #"{"index":\#($0.offset),"error":"invalid_timestamp","message":"no"}"# }
        return .answer(
            202, body: #"{"status":"ok","rejected":[\#(rejected.joined(separator: ","))]}"#)
    }

    @Test func `events come out at the right time while the wall clock is an hour off and set`()
        throws
    {
        let target = try LocalTarget()
        let ingest = try ScriptedIngest { request, _ in Self.answer(request) }
        defer {
            target.stop()
            ingest.stop()
        }
        let folder = try OwnFolder()
        let wall = "\(folder.path)/wall"
        func setWall(_ seconds: Int64) throws {
            var shift = seconds * 1_000_000_000
            let descriptor = open(wall, O_WRONLY | O_CREAT, 0o600)
            defer { close(descriptor) }
            #expect(
                pwrite(descriptor, &shift, MemoryLayout<Int64>.size, 0) == MemoryLayout<Int64>.size)
        }
        try setWall(3600)
        let log = "\(folder.path)/log"
        var launch = PrivateProcess.Launch(
            name: "probe", executable: "\(programFolder)/probe", arguments: [], logFile: log,
            pidFile: "\(folder.path)/pid")
        launch.environment = [
            "LD_PRELOAD": "\(programFolder)/libWallClockShift.so", "QOE_WALL_CLOCK_SHIFT": wall,
            "QOE_TARGETS": "\(target.httpURL)/fast",
            "QOE_INGEST_URL": "http://\(try ingest.url.authority)", "QOE_TOKEN": "secret",
            "QOE_CLIENT_ID": "client", "QOE_INTERVAL": "100ms",
            "QOE_STATE_DIR": "\(folder.path)/state", "QOE_METRICS_LISTEN": "127.0.0.1:0",
        ]
        let probe = try PrivateProcess(launch)
        var before = 0
        for next in [-3600, 3600, 3600] as [Int64] {
            let enough = before + 10
            #expect(
                eventually(within: .seconds(120)) {
                    ingest.requests().flatMap(\.events).count >= enough
                })
            before = ingest.requests().flatMap(\.events).count
            try setWall(next)
        }
        #expect(try probe.stop() == .code(0))

        let events = ingest.requests().flatMap(Self.times)
        #expect(events.map(\.seq) == Array(1...UInt64(max(1, events.count))))
        // Both wall clocks were in use, and none of them shows.
        let offsets = Set(
            events.compactMap { $0.clock_offset_ms.map { ($0 / 3_600_000).rounded() } })
        #expect(offsets == [-1, 1])
        let now = WallClock.nowMilliseconds()
        for event in events {
            #expect(abs(event.ts_ms - now) < 20 * 60_000)
        }
        let text = try String(contentsOfFile: log, encoding: .utf8)
        #expect(text.components(separatedBy: "the wall clock was set").count - 1 == 2)
        #expect(!text.contains("invalid_timestamp"))
        #expect(!text.contains("refuse"))
    }
}
