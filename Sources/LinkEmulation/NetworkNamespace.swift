internal import CNamespaces
internal import Glibc
package import OwnedThreads
internal import Synchronization
internal import TestKit

/// A network of its own inside the machine (`network_namespaces(7)`), with `lo` up and nothing else in it at first.
///
/// A socket belongs to the namespace of the thread that makes it, for as long as it is open, and may be used by any
/// thread. A thread and a child process begin in the namespace of the thread that starts them: whatever is started
/// inside ``run(_:)-(()->_)`` stays inside, owned threads, `PrivateProcess` and all. Swift's cooperative threads and an
/// event loop that exists already do not: nothing that awaits may be expected to be inside.
///
/// The kernel keeps the namespace until it is closed here and its last socket, thread and process are gone.
package final class NetworkNamespace: Sendable {
    /// How threads and errors call it.
    package let name: String
    /// Which namespace it is, as `/proc/PID/ns/net` shows it in brackets.
    package let identifier: UInt64
    private let descriptor: Mutex<Int32?>

    /// Makes a namespace; needs root.
    package init(named name: String) throws {
        self.name = name
        let made = try onThread("new \(name)") {
            guard namespaces_leave_for_new_network() == 0 else {
                throw LinkEmulationError.system(call: "unshare(CLONE_NEWNET)", errno: errno)
            }
            try Netlink().setUp(device: "lo")
            let descriptor = unsafe open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else {
                throw LinkEmulationError.system(call: "open /proc/thread-self/ns/net", errno: errno)
            }
            return descriptor
        }
        var status = stat()
        identifier = unsafe fstat(made, &status) == 0 ? UInt64(status.st_ino) : 0
        descriptor = Mutex(made)
    }

    deinit {
        close()
    }

    /// Lets go of the namespace: nothing can enter it any more. Does nothing the second time.
    package func close() {
        descriptor.withLock { descriptor in
            if let open = descriptor {
                _ = Glibc.close(open)
            }
            descriptor = nil
        }
    }

    /// Runs `body` on a thread of its own in the namespace and waits for it, as other threads may in their own at the
    /// same time. Blocks the calling thread.
    ///
    /// - Throws: What `body` throws; ``LinkEmulationError`` when the namespace cannot be entered.
    @available(*, noasync, message: "await the other one, which blocks no cooperative thread")
    package func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) throws -> Value {
        try onThread("in \(name)") { [self] in
            try enter()
            return try body()
        }
    }

    /// Runs `body` on a thread of its own in the namespace; it may block.
    ///
    /// - Throws: What `body` throws; ``LinkEmulationError`` when the namespace cannot be entered.
    package func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await onOwnThread("in \(name)") { [self] in
            try enter()
            return try body()
        }
    }

    /// Starts a thread in the namespace, for what goes on beside the caller, such as a server.
    ///
    /// - Returns: The thread, in the namespace already, which the caller ends by its own means and joins.
    package func startThread(
        named threadName: String, _ body: @escaping @Sendable () -> Void
    ) throws -> OwnedThread {
        let entered = Monitor<Result<Void, any Error>?>(nil)
        let thread = OwnedThread(name: threadName) { [self] in
            let outcome = Result { try enter() }
            entered.update { $0 = outcome }
            if case .success = outcome {
                body()
            }
        }
        let outcome = entered.wait(until: nil) { $0 }
        if case .failure(let error) = outcome {
            thread.join()
            throw error
        }
        return thread
    }

    /// Has the namespace hand on packets that are not for itself, so that it can be the middle of several links.
    package func forwardPackets() throws {
        try onThread("in \(name)") { [self] in
            try enter()
            for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                try write("1", toSetting: "/proc/sys/net/\(setting)")
            }
        }
    }

    /// Moves the calling thread, which must be one of ours and end there, into the namespace.
    private func enter() throws {
        try descriptor.withLock { descriptor in
            guard let descriptor else { throw LinkEmulationError.closed(name: name) }
            guard namespaces_enter_network(descriptor) == 0 else {
                throw LinkEmulationError.system(call: "setns to \(name)", errno: errno)
            }
        }
    }
}

/// Runs `body` on a thread that exists for it alone, since a thread that changed its namespace cannot be lent on.
private func onThread<Value: Sendable>(
    _ name: String, _ body: @escaping @Sendable () throws -> Value
) throws -> Value {
    let outcome = Monitor<Result<Value, any Error>?>(nil)
    let thread = OwnedThread(name: name) {
        let result = Result { try body() }
        outcome.update { $0 = result }
    }
    let result = outcome.wait(until: nil) { $0 }
    thread.join()
    guard let result else { preconditionFailure("a wait without end has ended") }
    return try result.get()
}

private func write(_ text: String, toSetting path: String) throws {
    let descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
        throw LinkEmulationError.system(call: "open \(path)", errno: errno)
    }
    defer { close(descriptor) }
    guard unsafe Glibc.write(descriptor, text, text.utf8.count) == text.utf8.count else {
        throw LinkEmulationError.system(call: "write \(path)", errno: errno)
    }
}
