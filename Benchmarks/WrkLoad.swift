import Glibc
import PrivateServers

/// What a load met.
struct LoadResult {
    var requestCount = 0
    var seconds = 0.0
    /// Requests without an answer of 2xx.
    var failureCount = 0
    /// Requests by the status of their answer; only where they were counted.
    var statuses: [Int: Int] = [:]
    var p50Milliseconds = 0.0
    var p99Milliseconds = 0.0
    var p999Milliseconds = 0.0

    var requestsPerSecond: Double { seconds > 0 ? Double(requestCount) / seconds : 0 }

    /// The run of middle rate.
    static func middle(_ runs: [LoadResult]) -> LoadResult {
        let sorted = runs.sorted { $0.requestsPerSecond < $1.requestsPerSecond }
        return sorted.isEmpty ? LoadResult() : sorted[sorted.count / 2]
    }
}

/// As fast as a number of connections go, by `wrk` (Debian's package of that name): one thread, keep-alive.
struct WrkLoad {
    let executable: String
    let folder: String

    /// Nil where wrk is missing, after saying what to install.
    init?(folder: String) {
        guard let found = try? InstalledProgram.find("wrk", debianPackage: "wrk") else {
            print("  skipped: wrk is missing; apt-get install wrk")
            return nil
        }
        executable = found
        self.folder = folder
    }

    /// Posts to `port` for some seconds.
    ///
    /// - Parameter countsStatuses: Costs wrk much of its speed.
    func run(
        _ requests: PostedRequests, port: Int, path: String = "/events", connections: Int,
        seconds: Int, countsStatuses: Bool = false
    ) throws -> LoadResult {
        let script = try script(requests, path, countsStatuses: countsStatuses)
        let log = "\(folder)/wrk.log"
        unlink(log)
        let process = try PrivateProcess(
            PrivateProcess.Launch(
                name: "wrk", executable: executable,
                arguments: [
                    "-t1", "-c\(connections)", "-d\(seconds)s", "--timeout", "10s", "--latency",
                    "-s",
                    script, "http://127.0.0.1:\(port)\(path)",
                ], logFile: log, pidFile: "\(folder)/wrk.pid"))
        let limit = Duration.seconds(seconds + 30)
        guard process.waitForExit(within: limit) != nil else {
            throw StoredStream.Failure(description: "wrk did not end within \(limit)")
        }
        return try Self.result(inLog: log)
    }

    /// Every request is formatted once, before the load; wrk then only chooses the next one.
    private func script(
        _ requests: PostedRequests, _ target: String, countsStatuses: Bool
    ) throws -> String {
        let name = target.map { $0 == "/" ? "-" : $0 }
        let path =
            "\(folder)/requests\(String(name))-\(requests.eventsPerRequest)"
            + "\(countsStatuses ? "-statuses" : "").lua"
        // Events may not be from the future, and a few minutes old ones are as good.
        guard access(path, F_OK) != 0 else { return path }
        var lua = "local raw = {}\n"
        for request in requests.requests {
            lua += "raw[#raw + 1] = [==[\(String(decoding: request, as: UTF8.self))]==]\n"
        }
        // Lua reads \r\n inside long brackets as \n, hence the substitution of the head's line ends.
        lua += """
            for i, text in ipairs(raw) do
              local split = text:find("\\n\\n", 1, true)
              local head = text:sub(1, split + 1):gsub("/events", "\(target)", 1):gsub("\\n", "\\r\\n")
              raw[i] = head .. text:sub(split + 2)
            end
            local next = 0
            request = function()
              next = next % #raw + 1
              return raw[next]
            end
            \(countsStatuses ? Self.countingStatuses : "")
            done = function(summary, latency)
              for _, thread in ipairs(threads or {}) do
                for status, count in pairs(thread:get("statuses")) do
                  io.write(string.format("\\nSTATUS %d %d", status, count))
                end
              end
              local e = summary.errors
              io.write(string.format("\\nRESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
                e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50),
                latency:percentile(99), latency:percentile(99.9)))
            end

            """
        try write(lua, to: path)
        return path
    }

    /// Each of wrk's threads has globals of its own.
    private static let countingStatuses = """
        threads = {}
        setup = function(thread) table.insert(threads, thread) end
        statuses = {}
        response = function(status) statuses[status] = (statuses[status] or 0) + 1 end

        """

    private static func result(inLog path: String) throws -> LoadResult {
        let text = read(path)
        guard let line = text.split(separator: "\n").last(where: { $0.hasPrefix("RESULT ") }) else {
            throw StoredStream.Failure(description: "wrk failed: \(text.suffix(300))")
        }
        let numbers = line.split(separator: " ").dropFirst().compactMap { Double($0) }
        guard numbers.count == 6 else {
            throw StoredStream.Failure(description: "wrk said: \(line)")
        }
        var statuses: [Int: Int] = [:]
        for line in text.split(separator: "\n") where line.hasPrefix("STATUS ") {
            let pair = line.split(separator: " ").dropFirst().compactMap { Int($0) }
            if pair.count == 2 { statuses[pair[0], default: 0] += pair[1] }
        }
        return LoadResult(
            requestCount: Int(numbers[0]), seconds: numbers[1] / 1e6, failureCount: Int(numbers[2]),
            statuses: statuses,
            p50Milliseconds: numbers[3] / 1000, p99Milliseconds: numbers[4] / 1000,
            p999Milliseconds: numbers[5] / 1000)
    }
}

/// Replaces the content of the file `path`.
func write(_ text: String, to path: String) throws {
    guard let file = fopen(path, "w") else {
        throw StoredStream.Failure(description: "\(path) cannot be written")
    }
    fputs(text, file)
    fclose(file)
}

/// The text of a file; empty when there is none.
func read(_ path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 64 << 10)
    while case let count = fread(&part, 1, part.count, file), count > 0 { bytes += part[..<count] }
    return String(decoding: bytes, as: UTF8.self)
}
