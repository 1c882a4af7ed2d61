internal import Glibc
internal import OwnedThreads

/// A program of this machine, run to its end: what goes in, what comes out, and for how long.
///
/// Blocks the calling thread; for owned threads. The child leads a process group of its own, which is killed when
/// the time is over or the caller wants to stop; so Ctrl-C in a terminal reaches the parent alone.
package struct ChildCommand: Sendable {
    /// Searched in PATH when it has no slash.
    package var executable: String
    package var arguments: [String]
    /// Added to the parent's environment, replacing what has the same name.
    package var environment: [String: String] = [:]
    package var input = ScriptInput.none
    package var timeout: Duration
    /// Of standard output and of standard error each so much is kept: output from its beginning, errors from
    /// their end.
    package var keptByteMax = ChildCommand.keptByteMaxDefault
    /// Asked often; the child ends when it says so.
    package var isStopped: @Sendable () -> Bool = { false }

    package static let keptByteMaxDefault = 4 << 20

    package init(_ executable: String, _ arguments: [String], timeout: Duration) {
        self.executable = executable
        self.arguments = arguments
        self.timeout = timeout
    }

    /// Why there is no result.
    package enum Failure: Error, Sendable, Equatable {
        /// It could not be started, or its input not be read.
        case system(call: String, errno: Int32)
        case timedOut
        case stopped
    }

    /// Runs it.
    ///
    /// - Parameter onOutput: Gets standard output as it comes, on the calling thread; the result then has none.
    package func run(
        onOutput: ((ArraySlice<UInt8>) -> Void)? = nil
    ) throws(Failure) -> ScriptOutput {
        var child = try RunningChild(self)
        defer { child.close() }
        return try child.converse(self, onOutput)
    }
}

/// What a script reads after itself.
package enum ScriptInput: Sendable {
    case none
    case bytes([UInt8])
    /// First the bytes, then the content of the file, which is read piece by piece.
    case file(path: String, after: [UInt8] = [])
    /// The bytes, and no end of the input until `isOver`, which is asked often, says so.
    case held(isOver: @Sendable () -> Bool, after: [UInt8] = [])
}

/// How a script ended and what it said.
package struct ScriptOutput: Sendable, Equatable {
    /// 128 and the signal's number when a signal ended it.
    package let status: Int32
    package let output: [UInt8]
    package let errors: [UInt8]
    /// Whether more came than is kept.
    package let isCut: Bool

    package init(status: Int32, output: [UInt8], errors: [UInt8], isCut: Bool = false) {
        self.status = status
        self.output = output
        self.errors = errors
        self.isCut = isCut
    }

    package var text: String { String(decoding: output, as: UTF8.self) }
    package var errorText: String { String(decoding: errors, as: UTF8.self) }
}

/// Descriptors and process of a command under way.
private struct RunningChild: ~Copyable {
    private let pid: pid_t
    private var status: Int32?
    private var input: Int32
    private var file: Int32 = -1
    private var output: Int32
    private var errors: Int32
    private var pending: [UInt8]
    private var sent = 0

    /// How long a wait for the child's words lasts before the clock and the wish to stop are looked at.
    private static let pollMilliseconds: Int32 = 100
    private static let pieceBytes = 1 << 16

    init(_ command: ChildCommand) throws(ChildCommand.Failure) {
        pending = []
        if case .bytes(let bytes) = command.input { pending = bytes }
        if case .held(_, let before) = command.input { pending = before }
        if case .file(let path, let before) = command.input {
            pending = before
            file = unsafe open(path, O_RDONLY | O_CLOEXEC)
            if file < 0 { throw .system(call: "open \(path)", errno: errno) }
        }
        // Sockets instead of pipes: writing to a child that has gone is an error then, and no signal; and they are
        // close-on-exec from the first, whatever another thread starts.
        var inputs: [Int32] = [-1, -1]
        var outputs: [Int32] = [-1, -1]
        var complaints: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard unsafe socketpair(AF_UNIX, kind, 0, &inputs) == 0,
            unsafe socketpair(AF_UNIX, kind, 0, &outputs) == 0,
            unsafe socketpair(AF_UNIX, kind, 0, &complaints) == 0
        else {
            let code = errno
            for descriptor in inputs + outputs + complaints + [file] where descriptor >= 0 {
                _ = Glibc.close(descriptor)
            }
            throw .system(call: "make a socket", errno: code)
        }
        defer {
            for descriptor in [inputs[1], outputs[1], complaints[1]] { _ = Glibc.close(descriptor) }
        }
        do throws(ChildCommand.Failure) {
            pid = try spawn(command, inputs[1], outputs[1], complaints[1])
        } catch {
            for descriptor in [inputs[0], outputs[0], complaints[0], file] where descriptor >= 0 {
                _ = Glibc.close(descriptor)
            }
            throw error
        }
        input = inputs[0]
        output = outputs[0]
        errors = complaints[0]
        for descriptor in [input, output, errors] {
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        }
    }

    /// Ends what is left: the group, and the child's entry in the table of processes.
    mutating func close() {
        if status == nil {
            _ = kill(-pid, SIGKILL)
            var code: Int32 = 0
            while unsafe waitpid(pid, &code, 0) < 0, errno == EINTR {}
        }
        Self.close(&input)
        Self.close(&file)
        Self.close(&output)
        Self.close(&errors)
    }

    private static func close(_ descriptor: inout Int32) {
        if descriptor >= 0 { _ = Glibc.close(descriptor) }
        descriptor = -1
    }

    mutating func converse(
        _ command: ChildCommand, _ onOutput: ((ArraySlice<UInt8>) -> Void)?
    ) throws(ChildCommand.Failure) -> ScriptOutput {
        let deadline = ContinuousClock.now + command.timeout
        var said: [UInt8] = []
        var complained: [UInt8] = []
        var isCut = false
        while true {
            // What is left in the sockets after its end was said before it: the look at the child comes first.
            let code = exitCode()
            send(command.input)
            while let bytes = Self.receive(&output) {
                if let onOutput {
                    onOutput(bytes[...])
                } else {
                    let room = command.keptByteMax - said.count
                    isCut = isCut || bytes.count > room
                    said += bytes.prefix(max(0, room))
                }
            }
            while let bytes = Self.receive(&errors) {
                complained += bytes
                let surplus = complained.count - command.keptByteMax
                if surplus > 0 { complained.removeFirst(surplus) }
                isCut = isCut || surplus > 0
            }
            if let code {
                return ScriptOutput(
                    status: code, output: said, errors: complained, isCut: isCut)
            }
            if command.isStopped() { throw .stopped }
            if ContinuousClock.now >= deadline { throw .timedOut }
            wait()
        }
    }

    /// Until something can be written or read, or a little while.
    private func wait() {
        var watched: [pollfd] = []
        if input >= 0, sent < pending.count || file >= 0 {
            watched.append(pollfd(fd: input, events: Int16(POLLOUT), revents: 0))
        }
        if output >= 0 { watched.append(pollfd(fd: output, events: Int16(POLLIN), revents: 0)) }
        if errors >= 0 { watched.append(pollfd(fd: errors, events: Int16(POLLIN), revents: 0)) }
        // With its sockets closed, it is about to end.
        let isEnding = output < 0 && errors < 0
        _ = unsafe poll(
            &watched, nfds_t(watched.count), isEnding ? 2 : Self.pollMilliseconds)
    }

    private mutating func exitCode() -> Int32? {
        if let status { return status }
        var code: Int32 = 0
        guard unsafe waitpid(pid, &code, WNOHANG) == pid else { return nil }
        let signal = code & 0x7F
        status = signal == 0 ? (code >> 8) & 0xFF : 128 + signal
        return status
    }

    private mutating func send(_ source: ScriptInput) {
        while input >= 0 {
            if sent == pending.count {
                if case .held(let isOver, _) = source, !isOver() { return }
                pending = file >= 0 ? Self.read(file) ?? [] : []
                sent = 0
                if pending.isEmpty {
                    Self.close(&input)
                    Self.close(&file)
                    return
                }
            }
            let rest = pending[sent...]
            let count = unsafe rest.withUnsafeBytes { bytes in
                unsafe Glibc.send(
                    input, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN {
                return
            } else if errno != EINTR {
                // It does not want to read more; its status says why.
                Self.close(&input)
                Self.close(&file)
            }
        }
    }

    /// Nil when there is nothing now; at the end the descriptor is closed.
    private static func receive(_ descriptor: inout Int32) -> [UInt8]? {
        guard descriptor >= 0 else { return nil }
        guard let bytes = read(descriptor) else { return nil }
        if bytes.isEmpty {
            close(&descriptor)
            return nil
        }
        return bytes
    }

    /// Empty at the end, nil when there is nothing now.
    private static func read(_ descriptor: Int32) -> [UInt8]? {
        while true {
            var count = 0
            let bytes = unsafe [UInt8](unsafeUninitializedCapacity: pieceBytes) { buffer, filled in
                count = unsafe Glibc.read(descriptor, buffer.baseAddress, buffer.count)
                filled = max(0, count)
            }
            if count >= 0 { return bytes }
            if errno == EINTR { continue }
            return errno == EAGAIN ? nil : []
        }
    }
}

/// Starts the child by `posix_spawnp(3)`: all other descriptors of ours are close-on-exec.
private func spawn(
    _ command: ChildCommand, _ input: Int32, _ output: Int32, _ errors: Int32
) throws(ChildCommand.Failure) -> pid_t {
    var files = unsafe posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    unsafe posix_spawn_file_actions_init(&files)
    defer { unsafe _ = posix_spawn_file_actions_destroy(&files) }
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe _ = posix_spawnattr_destroy(&attributes) }
    for (from, to) in [(input, STDIN_FILENO), (output, STDOUT_FILENO), (errors, STDERR_FILENO)] {
        unsafe posix_spawn_file_actions_adddup2(&files, from, to)
    }
    var all = sigset_t()
    var none = sigset_t()
    unsafe sigfillset(&all)
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigdefault(&attributes, &all)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setpgroup(&attributes, 0)
    unsafe posix_spawnattr_setflags(
        &attributes,
        Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))

    var lines: [String] = command.environment.map { "\($0.key)=\($0.value)" }
    var entry = unsafe environ
    while let line = unsafe entry.pointee {
        let text = unsafe String(cString: line)
        if command.environment[String(text.prefix { $0 != "=" })] == nil { lines.append(text) }
        unsafe entry += 1
    }
    var arguments = unsafe ([command.executable] + command.arguments).map { unsafe strdup($0) }
    var variables = unsafe lines.map { unsafe strdup($0) }
    unsafe arguments.append(nil)
    unsafe variables.append(nil)
    defer {
        for index in unsafe arguments.indices { unsafe free(arguments[index]) }
        for index in unsafe variables.indices { unsafe free(variables[index]) }
    }
    var pid = pid_t()
    let code = unsafe posix_spawnp(
        &pid, command.executable, &files, &attributes, arguments, variables)
    guard code == 0 else { throw .system(call: "start \(command.executable)", errno: code) }
    return pid
}
