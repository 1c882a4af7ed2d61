/// How a program ends; the numbers are those of sysexits(3) and timeout(1) where they have one.
package struct ExitCode: RawRepresentable, Sendable, Hashable {
    package let rawValue: Int32
    package init(rawValue: Int32) { self.rawValue = rawValue }

    package static let success = ExitCode(rawValue: 0)
    /// The program failed while it ran.
    package static let failure = ExitCode(rawValue: 1)
    /// EX_USAGE.
    package static let usage = ExitCode(rawValue: 64)
    /// EX_UNAVAILABLE: something that it cannot start without, such as a port, is not to be had.
    package static let unavailable = ExitCode(rawValue: 69)
    /// EX_CONFIG.
    package static let configuration = ExitCode(rawValue: 78)
    /// The graceful shutdown took too long.
    package static let shutdownTimeout = ExitCode(rawValue: 124)

    /// As a shell shows a process that a signal ended: 130 for SIGINT, 143 for SIGTERM.
    static func signal(_ number: Int32) -> ExitCode { ExitCode(rawValue: 128 + number) }

    /// For `--help`.
    static let meanings: [(code: ExitCode, meaning: String)] = [
        (.success, "done, or shut down gracefully"),
        (.failure, "failed while running; the last log line says why"),
        (.usage, "the command line was used wrongly"),
        (.unavailable, "an address to listen on, or another need, is not to be had"),
        (.configuration, "the configuration is wrong"),
        (.shutdownTimeout, "the graceful shutdown took longer than --shutdown-timeout"),
        (.signal(2), "a second SIGINT ended the shutdown at once"),
        (.signal(15), "a second SIGTERM ended the shutdown at once"),
    ]
}
