internal import Glibc
package import Logging
internal import Synchronization

/// Where log lines go, and from which level on; shared by all handlers of a program.
package final class LogOutput: Sendable {
    package let format: LogFormat
    private let descriptor: Int32
    private let levelIndex: Atomic<Int>
    private let lost = Atomic<Int>(0)
    /// Keeps a line that a pipe takes in parts from being torn by another thread's line.
    private let writing = Mutex(())

    /// - Parameter descriptor: An open file, which stays open and the caller's.
    package init(
        format: LogFormat, level: Logger.Level = .info, descriptor: Int32 = STDERR_FILENO
    ) {
        self.format = format
        self.descriptor = descriptor
        levelIndex = Atomic(Self.index(of: level))
    }

    /// The least level that is written; a change is seen by every logger without its own level.
    package var level: Logger.Level {
        get {
            let index = levelIndex.load(ordering: .relaxed)
            let levels = Logger.Level.allCases
            return levels.indices.contains(index) ? levels[index] : .info
        }
        set { levelIndex.store(Self.index(of: newValue), ordering: .relaxed) }
    }

    /// Lines that could not be written, for example because nobody reads the pipe any more.
    package var lostLineCount: Int { lost.load(ordering: .relaxed) }

    /// Writes a whole line, which ends in a newline, with one call of write(2) where the system
    /// takes it at once. Blocks when a pipe is full, and never fails: lost lines are counted.
    func write(_ line: consuming String) {
        let isWritten = writing.withLock { _ in
            line.withUTF8 { Self.writeAll(UnsafeRawBufferPointer($0), to: descriptor) }
        }
        if !isWritten { lost.add(1, ordering: .relaxed) }
    }

    private static func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = Glibc.write(
                descriptor, rest.base.baseAddress?.advanced(by: rest.startIndex), rest.count)
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                // The terminal or pipe is non-blocking because another program made it so.
                var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                guard poll(&state, 1, longestWaitMilliseconds) > 0 else { return false }
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }

    private static let longestWaitMilliseconds: Int32 = 1000

    private static func index(of level: Logger.Level) -> Int {
        Logger.Level.allCases.firstIndex(of: level) ?? 0
    }
}
