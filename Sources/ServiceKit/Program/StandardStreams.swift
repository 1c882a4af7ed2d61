internal import FoundationEssentials
internal import Glibc
internal import SystemPackage

/// Writes to standard output; a reader that went away is not an error.
enum StandardOutput {
    static func write(_ text: String) { _ = try? FileDescriptor.standardOutput.writeAll(text.utf8) }
}

/// Writes to standard error; a reader that went away is not an error.
enum StandardError {
    static func write(_ text: String) { _ = try? FileDescriptor.standardError.writeAll(text.utf8) }
}

/// The environment of this process.
package enum ProcessEnvironment {
    package static var variables: [String: String] { ProcessInfo.processInfo.environment }
}
