internal import Glibc
internal import SystemPackage

extension PrometheusRegistry {
    /// Adds what Prometheus expects of every process, and `qoe_build_info`.
    ///
    /// Values come from `/proc/self` (proc(5)); one that cannot be read is not shown.
    package func addProcessMetrics(program: String) {
        gauge("process_resident_memory_bytes", help: "Resident memory size in bytes.") {
            ProcessFacts.residentMemoryBytes()
        }
        counter("process_cpu_seconds_total", help: "User and system CPU time in seconds.") {
            ProcessFacts.cpuSeconds()
        }
        gauge("process_open_fds", help: "Open file descriptors.") {
            ProcessFacts.openDescriptorCount()
        }
        gauge("process_max_fds", help: "Most file descriptors that may be open.") {
            ProcessFacts.descriptorLimit()
        }
        let start = ProcessFacts.startTime()
        gauge(
            "process_start_time_seconds", help: "When the process started, in Unix seconds."
        ) { start }
        gauge(
            "qoe_build_info", help: "Always 1; the labels tell what is running.",
            labels: [
                ("program", program), ("version", Build.version), ("swift", Build.swiftVersion),
            ]
        ) { 1 }
    }
}

/// What Linux knows of this process.
enum ProcessFacts {
    static func residentMemoryBytes() -> Double? {
        // The second number is the resident set in pages.
        guard let text = try? TextFile.read("/proc/self/statm", limit: 4096),
            let pages = text.split(separator: " ").dropFirst().first.flatMap({ Double($0) })
        else { return nil }
        return pages * Double(sysconf(Int32(_SC_PAGESIZE)))
    }

    static func cpuSeconds() -> Double? {
        var usage = rusage()
        guard getrusage(RUSAGE_SELF.rawValue as __rusage_who_t, &usage) == 0 else { return nil }
        return [usage.ru_utime, usage.ru_stime].reduce(0) { sum, time in
            sum + Double(time.tv_sec) + Double(time.tv_usec) / 1e6
        }
    }

    static func openDescriptorCount() -> Double? {
        guard let folder = opendir("/proc/self/fd") else { return nil }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        // Not ".", "..", and the descriptor of this very look.
        return Double(count - 3)
    }

    static func descriptorLimit() -> Double? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return nil
        }
        return Double(limit.rlim_cur)
    }

    static func startTime() -> Double? {
        // Field 22 counts clock ticks since boot; the name in parentheses before it may hold
        // anything, so fields are counted from behind its end, where field 3 begins.
        guard let text = try? TextFile.read("/proc/self/stat", limit: 65_536),
            let end = text.lastIndex(of: ")"),
            let system = try? TextFile.read("/proc/stat", limit: 16 << 20),
            let bootLine = system.split(separator: "\n").first(where: { $0.hasPrefix("btime ") }),
            let boot = Double(bootLine.dropFirst("btime ".count)),
            let ticks = text[end...].split(separator: " ").dropFirst(20).first.flatMap({
                Double($0)
            })
        else { return nil }
        return boot + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }
}
