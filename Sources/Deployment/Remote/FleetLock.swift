internal import OwnedThreads

/// Keeps others from changing the same machines: on each a file is locked (flock(2)) as long as a session of ours lasts.
///
/// When the session ends, however it does, the lock is gone; and so it is after a restart of the machine.
package final class FleetLock: Sendable {
    private enum Answer: Sendable {
        case taken
        /// By whom and since when.
        case held(String)
        case failed(RemoteError)
    }

    private struct State {
        var isOver = false
        /// By the machine's place among those asked.
        var answers: [Int: Answer] = [:]
    }

    /// Why some machines are not locked; those who cannot be reached cannot be changed either.
    package let failures: [RemoteError]
    private let state: Monitor<State>
    private let threads: [OwnedThread]

    /// In no folder of the installation: it may be removed meanwhile.
    package static let usualPath = "/run/qoe-deploy.lock"
    /// Longer than any command.
    private static let sessionMax = Duration.seconds(7 * 86_400)

    private init(_ failures: [RemoteError], _ state: Monitor<State>, _ threads: [OwnedThread]) {
        self.failures = failures
        self.state = state
        self.threads = threads
    }

    /// Locks machines, all at once; to be released by the caller.
    ///
    /// - Parameter holder: Who it is for, as others are told.
    /// - Throws: ``DeploymentFailure`` with one line when somebody else has one of them.
    package static func take(
        _ machines: [Machine], _ shell: any MachineShell, holder: String,
        path: String = FleetLock.usualPath
    ) throws(DeploymentFailure) -> FleetLock {
        let state = Monitor(State())
        let script = script(holder, path)
        let threads = machines.indices.compactMap { index in
            let thread = OwnedThread(ifPossible: "lock-\(index)") {
                keep(index, machines[index], shell, script, state)
            }
            if thread == nil {
                state.update {
                    $0.answers[index] = .failed(
                        RemoteError(.local, machines[index], "there is no thread for its lock"))
                }
            }
            return thread
        }
        // A session that says nothing is as one that failed.
        _ = state.wait(until: ContinuousClock.now + MachineShellTimes.answer) { state in
            state.answers.count == machines.count ? true : nil
        }
        let answers = state.withLock { $0.answers }
        var failures: [RemoteError] = []
        var holders: [String] = []
        for (index, machine) in machines.enumerated() {
            switch answers[index] {
            case .taken: break
            case .held(let text):
                holders.append(
                    "\(machine.name) (\(machine.address)) is being changed by \(text); wait until that has ended, or, "
                        + "if nobody is there any more, end that process on \(machine.name)")
            case .failed(let error): failures.append(error)
            case nil: failures.append(RemoteError(.timedOut, machine, "it cannot be locked"))
            }
        }
        let lock = FleetLock(failures, state, threads)
        if let first = holders.first {
            lock.release()
            throw DeploymentFailure([first])
        }
        return lock
    }

    /// Ends the sessions.
    package func release() {
        state.update { $0.isOver = true }
        for thread in threads { thread.join() }
    }

    /// Says `taken` and lasts until its input ends, or says `held` and who has it.
    private static func script(_ holder: String, _ path: String) -> String {
        """
        umask 077
        exec 9>> \(shellQuoted(path)) || exit 1
        flock -n 9
        case $? in
            0) ;;
            1) printf 'held\\t%s\\n' "$(head -n 1 \(shellQuoted(path)))"; exit 0 ;;
            *) exit 1 ;;
        esac
        printf '%s since %s, process %s\\n' \(shellQuoted(holder)) "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$$" \
        > \(shellQuoted(path))
        echo taken
        exec cat > /dev/null

        """
    }

    private static func keep(
        _ index: Int, _ machine: Machine, _ shell: any MachineShell, _ script: String,
        _ state: Monitor<State>
    ) {
        var said: [UInt8] = []
        func answer(_ answer: Answer) {
            state.update { $0.answers[index] = $0.answers[index] ?? answer }
        }
        do throws(RemoteError) {
            let result = try shell.run(
                script, on: machine, input: .held(isOver: { state.withLock { $0.isOver } }),
                timeout: sessionMax
            ) { bytes in
                said += bytes
                // What a login says besides is left alone.
                for line in said.split(separator: UInt8(ascii: "\n")) {
                    let text = String(decoding: line, as: UTF8.self)
                    if text == "taken" { answer(.taken) }
                    if text.hasPrefix("held\t"), said.last == UInt8(ascii: "\n") {
                        let holder = PrintableText.line(String(text.dropFirst(5)))
                        answer(.held(holder.isEmpty ? "somebody" : holder))
                    }
                }
            }
            answer(
                .failed(RemoteError(.failed(status: result.status), machine, result.lastWords)))
        } catch {
            answer(.failed(error))
        }
    }
}
