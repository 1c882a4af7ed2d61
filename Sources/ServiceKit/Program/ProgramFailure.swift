internal import Glibc
internal import NIOCore

/// Why a program cannot start or go on, said to its operator, with the exit code to end with.
///
/// Thrown by a program's `run` or by one of its services. Any other error ends the program too,
/// with ``ExitCode/failure`` and the error's own description.
package struct ProgramFailure: Error, Sendable, CustomStringConvertible {
    package let exitCode: ExitCode
    /// What is wrong and what to do about it. Holds no secrets.
    package let description: String

    package init(_ exitCode: ExitCode, _ description: String) {
        self.exitCode = exitCode
        self.description = description
    }

    /// The configuration turned out to be wrong while the program started.
    package init(_ error: ConfigurationError) {
        self.init(.configuration, error.description)
    }

    /// An address cannot be listened on.
    ///
    /// - Parameters:
    ///   - setting: The setting that named the address, such as `listen`.
    ///   - cause: What binding threw.
    package static func cannotListen(
        on address: NetworkAddress, setting: String, cause: any Error
    ) -> ProgramFailure {
        let anyPort = NetworkAddress(host: address.host, port: 0)
        let reason: String
        switch (cause as? IOError)?.errnoCode {
        case EADDRINUSE:
            reason =
                "is in use by another process; stop that one ('ss -ltnp sport = :\(address.port)'"
                + " shows it) or set --\(setting) to another address, such as \(anyPort) for any"
                + " free port"
        case EACCES:
            reason = "needs a privilege that this user lacks; choose a port from 1024 on"
        case EADDRNOTAVAIL:
            reason = "is not an address of this machine; 0.0.0.0 or [::] listens on all of its own"
        default:
            reason = "cannot be listened on: \(cause)"
        }
        return ProgramFailure(.unavailable, "--\(setting): \(address) \(reason)")
    }
}
