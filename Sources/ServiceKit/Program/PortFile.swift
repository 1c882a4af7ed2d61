internal import Glibc
internal import SystemPackage
internal import Synchronization

/// Collects where a program listens and writes it to a file once all listeners are bound.
final class PortFile: Sendable {
    private struct State {
        var addresses: [String: NetworkAddress] = [:]
        var isWritten = false
    }

    private let path: String?
    private let expected: [String]
    private let state = Mutex(State())

    /// - Parameters:
    ///   - path: Nil to write nothing.
    ///   - listeners: The names that must all be announced first.
    init(path: String?, listeners: [String]) {
        self.path = path
        expected = listeners
    }

    /// Notes that a listener is bound; the last one writes the file.
    func announce(_ listener: String, _ address: NetworkAddress) throws(ProgramFailure) {
        precondition(expected.contains(listener), "listener '\(listener)' is not declared")
        let text: String? = state.withLock { state in
            state.addresses[listener] = address
            guard !state.isWritten, state.addresses.count == expected.count else { return nil }
            state.isWritten = true
            return expected.compactMap { name in
                state.addresses[name].map { "\(name)=\($0)\n" }
            }.joined()
        }
        guard let path, let text else { return }
        do {
            try Self.write(text, to: path)
        } catch {
            throw ProgramFailure(.unavailable, "--port-file: \(path) cannot be written: \(error)")
        }
    }

    /// Readers see the whole file or none.
    private static func write(_ text: String, to path: String) throws {
        let temporary = path + ".tmp"
        let descriptor = try FileDescriptor.open(
            FilePath(temporary), .writeOnly, options: [.create, .truncate],
            permissions: [.ownerReadWrite, .groupRead, .otherRead])
        try descriptor.closeAfter { _ = try descriptor.writeAll(text.utf8) }
        try rename(from: temporary, to: path)
    }

    private static func rename(from old: String, to new: String) throws {
        guard Glibc.rename(old, new) == 0 else { throw Errno(rawValue: errno) }
    }
}
