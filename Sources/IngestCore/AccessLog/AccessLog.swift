internal import CoreMetrics
internal import Glibc
internal import Logging
internal import OwnedThreads
internal import ServiceKit

/// The file of the access log: a line of JSON for each request, written by a thread of its own.
///
/// Event loops hand over whole pieces of lines and never wait: what the disk does not take in time is dropped beyond a
/// bound, and counted.
final class AccessLog: Sendable {
    private struct State {
        var pieces: [[UInt8]] = []
        var byteCount = 0
        var isReopenWanted = false
        var isStopped = false
    }

    private let path: String
    private let logger: Logger
    private let state = Monitor(State())
    private let linesDropped: Counter
    private let writeFailures: Counter

    /// What may wait to be written, bytes.
    private static let waitingBytesMax = 8 << 20
    /// How long a file that cannot be opened or written is left alone.
    private static let retryPause = Duration.seconds(1)

    init(path: String, metrics registry: PrometheusRegistry, logger: Logger) {
        self.path = path
        self.logger = logger
        linesDropped = registry.counter(
            "qoe_ingest_access_log_lines_dropped_total",
            help:
                "Lines of the access log that were lost because the file could not be written in time."
        )
        writeFailures = registry.counter(
            "qoe_ingest_access_log_write_failures_total",
            help: "Times that the access log could not be opened or written.")
    }

    /// From any thread.
    func write(_ lines: [UInt8], lineCount: Int) {
        let isTaken = state.update { state in
            guard state.byteCount + lines.count <= Self.waitingBytesMax else { return false }
            state.pieces.append(lines)
            state.byteCount += lines.count
            return true
        }
        if !isTaken { linesDropped.increment(by: lineCount) }
    }

    /// Has the file opened anew, after it was renamed.
    func reopen() {
        state.update { $0.isReopenWanted = true }
    }

    func stop() {
        state.update { $0.isStopped = true }
    }

    /// Writes until ``stop()``, and what is there by then.
    func run() {
        var file: Int32?
        defer { if let file { close(file) } }
        while true {
            let work = state.wait(until: nil) { state -> State? in
                guard !state.pieces.isEmpty || state.isReopenWanted || state.isStopped else {
                    return nil
                }
                let work = state
                state.pieces = []
                state.byteCount = 0
                state.isReopenWanted = false
                return work
            }
            guard let work else { continue }
            if work.isReopenWanted, let old = file {
                // What was handed over before belongs into the old file.
                write(work.pieces, to: &file)
                close(old)
                file = open()
            } else {
                file = file ?? open()
                write(work.pieces, to: &file)
            }
            if work.isStopped { return }
        }
    }

    private func open() -> Int32? {
        let file = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
        guard file < 0 else { return file }
        fail("cannot be opened: \(String(cString: strerror(errno)))")
        return nil
    }

    private func write(_ pieces: [[UInt8]], to file: inout Int32?) {
        for piece in pieces {
            guard let descriptor = file, Self.writeAll(piece, to: descriptor) else {
                let lineCount = piece.count { $0 == UInt8(ascii: "\n") }
                linesDropped.increment(by: lineCount)
                if file != nil { fail("cannot be written: \(String(cString: strerror(errno)))") }
                continue
            }
        }
    }

    private static func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }

    private func fail(_ problem: String) {
        writeFailures.increment()
        logger.error("the access log \(problem)", metadata: ["path": "\(path)"])
        // Not a line for each piece: the log itself would fill up.
        _ = state.wait(until: .now + Self.retryPause) { $0.isStopped ? true : nil }
    }
}
