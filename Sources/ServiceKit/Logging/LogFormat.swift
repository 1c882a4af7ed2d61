internal import Glibc

/// How log lines look.
package enum LogFormat: String, Sendable, CaseIterable {
    /// For people: time, level, logger, message, `key=value`.
    case text
    /// For collectors: one JSON object per line.
    case json

    /// Text when standard error is a terminal, else JSON.
    package static var byTerminal: LogFormat {
        isatty(STDERR_FILENO) == 1 ? .text : .json
    }
}
