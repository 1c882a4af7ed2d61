internal import Glibc
internal import OwnedThreads

/// A server process that this process started and alone may signal.
///
/// The child leads a process group of its own, so that Ctrl-C in a terminal reaches the parent
/// only and the parent decides the order of stopping. It inherits no open file, no blocked and
/// no ignored signal, and gets ``Launch/deathSignal`` from the kernel when the parent dies
/// without stopping it (`prctl(2)`, `PR_SET_PDEATHSIG`). A pid file tells a later start when even
/// that did not help.
///
/// Why not swift-subprocess: it ties a child's life to one structured scope, while these servers
/// are stopped, restarted and frozen by whoever holds them; and the kernel sends the death signal
/// when the *thread* that forked ends, so the fork must happen on a thread that lives as long as
/// the child. That is the thread that waits for it here.
package final class PrivateProcess: Sendable {
    /// What to start and how.
    package struct Launch: Sendable {
        /// How errors and logs call the server.
        package var name: String
        /// Absolute path of the program.
        package var executable: String
        package var arguments: [String]
        /// Added to the parent's environment, replacing what has the same name.
        package var environment: [String: String] = [:]
        /// Receives standard output and error; appended to, made when missing.
        package var logFile: String
        /// Names the running child between starts; removed when the child has ended.
        package var pidFile: String
        /// The account to run as, when not the parent's own; needs a parent that is root.
        package var account: Account?
        /// Asks the child to end in order; PostgreSQL's fast shutdown is an interrupt.
        package var stopSignal = StopSignal.terminate
        /// What the kernel sends when the parent is gone.
        package var deathSignal = StopSignal.terminate

        package init(
            name: String, executable: String, arguments: [String], logFile: String, pidFile: String
        ) {
            self.name = name
            self.executable = executable
            self.arguments = arguments
            self.logFile = logFile
            self.pidFile = pidFile
        }
    }

    /// A signal that asks a server to end.
    package enum StopSignal: Sendable {
        case terminate, interrupt, quit

        var number: Int32 {
            switch self {
            case .terminate: SIGTERM
            case .interrupt: SIGINT
            case .quit: SIGQUIT
            }
        }

        /// As `setpriv(1)` spells it.
        var name: String {
            switch self {
            case .terminate: "TERM"
            case .interrupt: "INT"
            case .quit: "QUIT"
            }
        }
    }

    /// How a child ended.
    package enum Exit: Sendable, Equatable, CustomStringConvertible {
        case code(Int32)
        case signal(Int32)

        package var description: String {
            switch self {
            case .code(let code): "ended with code \(code)"
            case .signal(let signal): "was ended by signal \(signal)"
            }
        }
    }

    private enum State {
        case starting
        case failed(PrivateServerError)
        case running(pid_t)
        case ended(pid_t, Exit)
    }

    package let launch: Launch
    private let state: Monitor<State>
    private let waiter: OwnedThread

    /// Starts the child; returns as soon as it runs, which does not mean that it serves yet.
    ///
    /// - Throws: ``PrivateServerError/alreadyRunning(name:processIdentifier:pidFile:)`` when the
    ///   pid file names a live child of an earlier start; other errors when it cannot be started.
    package init(_ launch: Launch) throws(PrivateServerError) {
        if let running = PidFile(path: launch.pidFile).liveProcess() {
            throw .alreadyRunning(
                name: launch.name, processIdentifier: running, pidFile: launch.pidFile)
        }
        let arguments = try Self.commandLine(launch)
        let state = Monitor(State.starting)
        self.launch = launch
        self.state = state
        waiter = OwnedThread(name: "wait \(launch.name)") {
            Self.spawnAndWait(launch, arguments, state)
        }
        let started = state.wait(until: nil) { state -> Result<Void, PrivateServerError>? in
            switch state {
            case .starting: nil
            case .failed(let error): .failure(error)
            case .running, .ended: .success(())
            }
        }
        if case .failure(let error) = started {
            waiter.join()
            throw error
        }
    }

    /// Kills a child that nobody stopped.
    deinit {
        signal(SIGKILL)
        waiter.join()
    }

    /// The child's process id, also after it ended.
    package var processIdentifier: Int32 {
        state.withLock { state in
            switch state {
            case .running(let pid), .ended(let pid, _): pid
            case .starting, .failed: preconditionFailure("the initializer waits for the start")
            }
        }
    }

    /// How the child ended, or `nil` while it runs.
    package var exit: Exit? {
        state.withLock { state in
            if case .ended(_, let exit) = state { exit } else { nil }
        }
    }

    /// Sends `signal` to the child, if it has not ended.
    ///
    /// - Returns: Whether there was a child to send it to.
    @discardableResult
    package func signal(_ signal: Int32) -> Bool {
        // The child is reaped under the same lock: its id cannot have been given to another.
        state.withLock { state in
            guard case .running(let pid) = state else { return false }
            return Glibc.kill(pid, signal) == 0
        }
    }

    /// Freezes the child (SIGSTOP) as if its machine hung; ``resume()`` lets it go on. Blocks
    /// until its last thread has stopped.
    package func pause() {
        signal(SIGSTOP)
        let deadline = ContinuousClock.now + killLimit
        while !hasStopped && exit == nil && ContinuousClock.now < deadline {
            usleep(1_000)
        }
    }

    private var hasStopped: Bool {
        state.withLock { state in
            guard case .running(let pid) = state else { return false }
            var information = siginfo_t()
            // Reports a stop of the whole process, and never reaps it.
            let status = waitid(P_PID, id_t(pid), &information, WSTOPPED | WNOHANG)
            return status == 0 && information.si_signo == SIGCHLD
        }
    }

    package func resume() {
        signal(SIGCONT)
    }

    /// Kills the child (SIGKILL) and waits until it is gone.
    package func kill() throws(PrivateServerError) {
        signal(SIGKILL)
        guard waitForExit(within: killLimit) != nil else {
            throw .doesNotEnd(name: launch.name, processIdentifier: processIdentifier)
        }
    }

    /// Asks the child to end, and kills it when it has not within `limit`. Blocks.
    ///
    /// - Returns: How it ended; SIGKILL tells that it had to be killed.
    @discardableResult
    package func stop(within limit: Duration = .seconds(10)) throws(PrivateServerError) -> Exit {
        signal(launch.stopSignal.number)
        // A frozen child would keep the request pending for ever.
        signal(SIGCONT)
        if let exit = waitForExit(within: limit) {
            return exit
        }
        try kill()
        return .signal(SIGKILL)
    }

    /// Blocks until the child has ended or `limit` has passed.
    package func waitForExit(within limit: Duration) -> Exit? {
        state.wait(until: .now + limit) { state in
            if case .ended(_, let exit) = state { exit } else { nil }
        }
    }

    /// How long a killed process may take to disappear: it may be inside a disk write.
    private var killLimit: Duration { .seconds(10) }
}

extension PrivateProcess {
    /// The command line, led by `setpriv` (util-linux), which sets what `posix_spawn` cannot: the
    /// death signal and another account. It replaces itself by the server: same process id.
    private static func commandLine(_ launch: Launch) throws(PrivateServerError) -> [String] {
        var setpriv: [String] = []
        if let account = launch.account {
            setpriv += [
                "--reuid", "\(account.userIdentifier)", "--regid", "\(account.groupIdentifier)",
                "--clear-groups",
            ]
        }
        guard let program = try? InstalledProgram.find("setpriv", debianPackage: "util-linux")
        else {
            guard launch.account == nil else {
                _ = try InstalledProgram.find("setpriv", debianPackage: "util-linux")
                return []
            }
            // Without it an orphan is possible; the pid file still finds it.
            return [launch.executable] + launch.arguments
        }
        setpriv = [program, "--pdeathsig", launch.deathSignal.name] + setpriv
        return setpriv + ["--", launch.executable] + launch.arguments
    }

    private static func spawnAndWait(
        _ launch: Launch, _ arguments: [String], _ state: Monitor<State>
    ) {
        let pid: pid_t
        do throws(PrivateServerError) {
            pid = try spawn(
                arguments, environment: launch.environment, logFile: launch.logFile)
        } catch {
            state.update { $0 = .failed(error) }
            return
        }
        let pidFile = PidFile(path: launch.pidFile)
        pidFile.write(pid)
        state.update { $0 = .running(pid) }

        // Wait without reaping, so that the id stays ours until the state says that it ended.
        var information = siginfo_t()
        while waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT) != 0 && errno == EINTR {}
        pidFile.remove()
        state.update { state in
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
            state = .ended(pid, exit(fromWaitStatus: status))
        }
    }

    /// The encoding of `wait(2)`; Swift does not see its macros.
    private static func exit(fromWaitStatus status: Int32) -> Exit {
        let signal = status & 0x7f
        return signal == 0 ? .code((status >> 8) & 0xff) : .signal(signal)
    }
}
