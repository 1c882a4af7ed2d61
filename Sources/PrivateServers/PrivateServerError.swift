internal import Glibc

/// Why a private server could not be started or stopped.
package enum PrivateServerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// No folder that was searched holds the program.
    case missingProgram(name: String, debianPackage: String, searched: [String])
    /// A system call failed.
    case system(call: String, errno: Int32)
    /// A file or folder could not be read or written.
    case file(path: String, reason: String)
    /// The account the server shall run as does not exist on this machine.
    case unknownAccount(name: String)
    /// A server that was started earlier still runs on the same data.
    case alreadyRunning(name: String, processIdentifier: Int32, pidFile: String)
    /// The server ended before it was ready.
    case ended(name: String, exit: PrivateProcess.Exit, log: String, lastWords: String)
    /// The server did not accept connections in time.
    case notReady(name: String, after: Duration, log: String)
    /// The server still runs although it was killed.
    case doesNotEnd(name: String, processIdentifier: Int32)
    /// A server that runs did not do what it was asked.
    case refused(name: String, reason: String)
    /// A setting is out of its range.
    case invalidSetting(name: String, reason: String)

    package var description: String {
        switch self {
        case .missingProgram(let name, let debianPackage, let searched):
            "\(name) was not found in \(searched.joined(separator: ", ")); "
                + "install it: apt install \(debianPackage)"
        case .system(let call, let errno):
            "\(call) failed: \(String(cString: strerror(errno)))"
        case .file(let path, let reason):
            "\(path): \(reason)"
        case .unknownAccount(let name):
            "there is no account \(name) on this machine to run the server as"
        case .alreadyRunning(let name, let processIdentifier, let pidFile):
            "\(name) already runs as process \(processIdentifier), as \(pidFile) says; "
                + "stop it first, or use another data folder"
        case .ended(let name, let exit, let log, let lastWords):
            "\(name) \(exit) before it was ready; its log \(log) ends with: \(lastWords)"
        case .notReady(let name, let limit, let log):
            "\(name) accepted no connection within \(limit); see \(log)"
        case .doesNotEnd(let name, let processIdentifier):
            "\(name) (process \(processIdentifier)) does not end although it was killed; "
                + "it may wait for a disk that does not answer"
        case .refused(let name, let reason):
            "\(name): \(reason)"
        case .invalidSetting(let name, let reason):
            "\(name) \(reason)"
        }
    }
}
