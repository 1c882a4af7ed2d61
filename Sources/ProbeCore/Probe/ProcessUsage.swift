internal import Glibc
internal import Transport

/// What this process uses of the machine.
struct ProcessUsage {
    private var lastCPU = Duration.zero
    private var lastLook = MonotonicInstant.now()

    /// The share of one CPU used since the last call, percent; nil at once after it.
    mutating func cpuPercent() -> Double? {
        var usage = rusage()
        guard getrusage(Int32(RUSAGE_SELF.rawValue), &usage) == 0 else { return nil }
        let cpu = Self.duration(usage.ru_utime) + Self.duration(usage.ru_stime)
        let now = MonotonicInstant.now()
        let elapsed = now.since(lastLook).inSeconds
        let used = (cpu - lastCPU).inSeconds
        guard elapsed > 0 else { return nil }
        lastCPU = cpu
        lastLook = now
        return used / elapsed * 100
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
