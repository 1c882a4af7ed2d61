import Glibc

/// What processes have used so far, from `/proc` (proc(5)).
enum ProcessUsage {
    /// CPU seconds of a process, its waited-for children included.
    static func cpuSeconds(of pid: Int32) -> Double {
        guard let fields = statFields(of: pid) else { return 0 }
        return (13...16).reduce(0) { $0 + (Double(fields[$1 - 2]) ?? 0) } / ticksPerSecond
    }

    /// CPU seconds of a process and all its children, those that have ended included.
    static func cpuSecondsOfFamily(_ pid: Int32) -> Double {
        var seconds = cpuSeconds(of: pid)
        guard let folder = opendir("/proc") else { return seconds }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let child = Int32(name), let fields = statFields(of: child),
                fields[1] == "\(pid)"
            else { continue }
            seconds += (11...12).reduce(0) { $0 + (Double(fields[$1]) ?? 0) } / ticksPerSecond
        }
        return seconds
    }

    /// The most memory a process has had resident, bytes.
    static func peakMemory(of pid: Int32) -> Int {
        statusBytes("VmHWM:", of: "\(pid)")
    }

    /// The memory of this process that is resident now, bytes.
    static var ownMemory: Int { statusBytes("VmRSS:", of: "self") }

    /// The memory of a process that is resident now, bytes.
    static func memory(of pid: Int32) -> Int { statusBytes("VmRSS:", of: "\(pid)") }

    /// CPU seconds of this process.
    static var ownCPUSeconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static let ticksPerSecond = Double(sysconf(Int32(_SC_CLK_TCK)))

    private static func statusBytes(_ key: String, of process: String) -> Int {
        for line in text(of: "/proc/\(process)/status").split(separator: "\n")
        where line.hasPrefix(key) {
            return (line.split(separator: " ").compactMap { Int($0) }.first ?? 0) << 10
        }
        return 0
    }

    /// The fields of `stat` behind the name, which may hold spaces: state, parent, …
    private static func statFields(of pid: Int32) -> [Substring]? {
        let text = text(of: "/proc/\(pid)/stat")
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        return fields.count > 14 ? fields : nil
    }

    private static func text(of path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        let count = fread(&buffer, 1, buffer.count, file)
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }
}
