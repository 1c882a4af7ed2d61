internal import Glibc
internal import Transport

/// What this process uses of the machine.
struct ProcessUsage {
    private var lastCPU = Self.cpuTime()
    private var lastLook = MonotonicInstant.now()

    /// The shortest time of which a share says something.
    private static let shortestLook = Duration.seconds(1)

    /// The share of one CPU used since the last answer, percent; nil too soon after it.
    mutating func cpuPercent() -> Double? {
        let now = MonotonicInstant.now()
        let elapsed = now.since(lastLook)
        guard elapsed >= Self.shortestLook, let cpu = Self.cpuTime(), let before = lastCPU else {
            return nil
        }
        lastCPU = cpu
        lastLook = now
        return (cpu - before).inSeconds / elapsed.inSeconds * 100
    }

    /// The CPU time of all threads since the start; nil when the system does not tell.
    static func cpuTime() -> Duration? {
        var usage = rusage()
        guard getrusage(Int32(RUSAGE_SELF.rawValue), &usage) == 0 else { return nil }
        return duration(usage.ru_utime) + duration(usage.ru_stime)
    }

    /// The bytes of memory in use (`VmRSS` of proc(5)); nil when the system does not tell.
    static func memoryBytes() -> Int64? {
        let pages = try? SmallFile.read("/proc/self/statm", bytesMax: 4096)
            .split(separator: " ").dropFirst().first.flatMap { Int64($0) }
        guard let pages else { return nil }
        return pages.multipliedReportingOverflow(by: Int64(sysconf(Int32(_SC_PAGESIZE))))
            .partialValue
    }

    /// The machine's name; nil when the system does not tell.
    static func hostname() -> String? {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return nil }
        return String(
            decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func duration(_ time: timeval) -> Duration {
        .seconds(time.tv_sec) + .microseconds(time.tv_usec)
    }
}
