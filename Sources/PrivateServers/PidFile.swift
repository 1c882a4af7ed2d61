internal import Glibc

/// A file that names a running child: process id and start time.
///
/// The start time (field 22 of `/proc/<pid>/stat`, `proc(5)`) tells the child from a stranger that
/// got its number later, so a stale file can neither block a start nor point at another process.
struct PidFile {
    let path: String

    /// Records `pid`. A failure is ignored: the file only helps a later start to explain itself.
    func write(_ pid: pid_t) {
        guard let start = startTime(of: pid), let file = fopen(path, "w") else { return }
        fputs("\(pid) \(start)\n", file)
        fclose(file)
    }

    func remove() {
        unlink(path)
    }

    /// The process the file names, if that very process still runs.
    func liveProcess() -> pid_t? {
        guard let text = contents(of: path) else { return nil }
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 2, let pid = pid_t(words[0]), let start = startTime(of: pid),
            start == words[1]
        else { return nil }
        return pid
    }

    private func startTime(of pid: pid_t) -> String? {
        // The second field is the program's name in parentheses and may hold anything.
        guard let text = contents(of: "/proc/\(pid)/stat"), let end = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[end...].split(separator: " ")
        let startTimeAfterName = 20
        guard fields.count > startTimeAfterName, fields[1] != "Z" else { return nil }
        return String(fields[startTimeAfterName])
    }

    private func contents(of path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = fread(&buffer, 1, buffer.count, file)
        return String(decoding: buffer.prefix(count), as: UTF8.self)
    }
}
