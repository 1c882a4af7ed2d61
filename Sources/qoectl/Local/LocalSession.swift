import Foundation
import LocalStack
import OwnedThreads

/// One run of the local stack in a terminal or in a script.
struct LocalSession {
    let settings: LocalStack.Settings
    /// Nil runs until Ctrl-C.
    let duration: Duration?

    private static let refreshInterval = Duration.seconds(2)
    /// Between two tables where nobody watches.
    private static let reportInterval = Duration.seconds(30)
    private static let drainLimit = Duration.seconds(20)
    /// The exit code after a second Ctrl-C, which shells use for SIGINT.
    private static let leftAtOnce: Int32 = 130

    func run() throws {
        let stopping = Monitor(false)
        let signals = watchSignals {
            let isRepeated = stopping.withLock { wasAsked in
                defer { wasAsked = true }
                return wasAsked
            }
            // Everything that was started gets its own request to end from the kernel.
            if isRepeated { _exit(Self.leftAtOnce) }
            stopping.update { $0 = true }
            say("Stopping. Ctrl-C again leaves at once; the servers then end by themselves.")
        }
        defer { withExtendedLifetime(signals) {} }

        let stack = try LocalStack(settings) { say($0) }
        var isStopped = false
        defer { if !isStopped { stack.stop() } }
        let addresses = try stack.start()
        say(introduction(addresses))

        var screen = isatty(STDOUT_FILENO) == 1 ? RedrawnLines() : nil
        let deadline = duration.map { ContinuousClock.now + $0 }
        var nextReport = ContinuousClock.now + Self.reportInterval
        while true {
            let tick = ContinuousClock.now + Self.refreshInterval
            let wake = deadline.map { min($0, tick) } ?? tick
            if stopping.wait(until: wake, { $0 ? true : nil }) == true { break }
            try stack.checkRunning()
            let now = ContinuousClock.now
            if let deadline, now >= deadline { break }
            if screen != nil {
                screen?.show(try stack.minutes())
            } else if now >= nextReport {
                nextReport = now + Self.reportInterval
                say((try stack.minutes() + [""]).joined(separator: "\n"))
            }
        }

        let wasAsked = stopping.withLock { $0 }
        if duration != nil, !wasAsked {
            let missing = try stack.drain(within: Self.drainLimit)
            say(try stack.minutes().joined(separator: "\n"))
            guard missing.isEmpty else {
                throw CommandFailure(
                    "not everything arrived in SQL:\n  " + missing.joined(separator: "\n  "))
            }
            say("\nEvery event that the probes measured is in SQL.")
        }
        stack.stop()
        isStopped = true
        say("Stopped. The data stays in \(settings.folder.path).")
    }

    /// SIGINT, SIGTERM and SIGHUP (the terminal is gone) reach `handler`; the servers are in process groups of their own and do
    /// not see the terminal's Ctrl-C.
    private func watchSignals(
        _ handler: @escaping @Sendable () -> Void
    ) -> [any DispatchSourceSignal] {
        [SIGINT, SIGTERM, SIGHUP].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(
                signal: number, queue: DispatchQueue.global())
            source.setEventHandler(handler: handler)
            source.activate()
            return source
        }
    }

    private func introduction(_ addresses: LocalStack.Addresses) -> String {
        let folder =
            settings.folder == .standard ? "" : " --data-dir \(shellWord(settings.folder.path))"
        let program = shellWord(CommandLine.arguments.first ?? "qoectl")
        // The password stays in the file.
        let database = "postgresql:///?service=\(StackFolder.serviceName)"
        return """

            Post an event of your own:

              curl -i http://\(addresses.api)/events -H 'Authorization: Bearer \(addresses.token)' \\
                -H 'Content-Type: application/json' -d '{"schema_version":1,
                "event_id":"'$(cat /proc/sys/kernel/random/uuid)'","client_id":"me",
                "target":"https://example.com","ts_ms":'$(date +%s%3N)',
                "timing_measurements":{"dns_ms":15.3,"ttfb_ms":125.8}}'

            Open SQL:

              \(program) local psql\(folder)

            Check what was counted (verify), see who counts what (partitions), what could not be (dlq list):

              export PGSERVICEFILE=\(shellWord(settings.folder.serviceFile))
              \(program) verify --postgres-url '\(database)' --nats-url \(addresses.nats)

            Targets with settable faults: \(addresses.http)/ and \(addresses.https)/
            Stop with Ctrl-C.

            """
    }
}

/// Prints `text` at once, also into a file or a pipe, where standard output otherwise waits for
/// more; a reader that went away is not an error.
func say(_ text: String, terminator: String = "\n") {
    print(text, terminator: terminator)
    fflush(nil)
}

/// `text` as a POSIX shell reads it as one word.
private func shellWord(_ text: String) -> String {
    let plain = text.utf8.allSatisfy { byte in
        switch UInt8(byte) {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."),
            UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
    return plain && !text.isEmpty ? text : "'\(text.replacing("'", with: "'\\''"))'"
}
