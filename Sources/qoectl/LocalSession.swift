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

    func run() throws {
        let stopping = Monitor(false)
        let signals = watchSignals { stopping.update { $0 = true } }
        defer { withExtendedLifetime(signals) {} }

        let stack = try LocalStack(settings) { print($0) }
        var isStopped = false
        defer { if !isStopped { stack.stop() } }
        let addresses = try stack.start()
        print(introduction(addresses))

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
                print((try stack.minutes() + [""]).joined(separator: "\n"))
            }
        }

        let wasAsked = stopping.withLock { $0 }
        if duration != nil, !wasAsked {
            let missing = try stack.drain(within: Self.drainLimit)
            print(try stack.minutes().joined(separator: "\n"))
            guard missing.isEmpty else {
                throw CommandFailure(
                    "not everything arrived in SQL:\n  " + missing.joined(separator: "\n  "))
            }
            print("\nEvery event that the probes measured is in SQL.")
        }
        print("Stopping; the data stays in \(settings.folder.path).")
        stack.stop()
        isStopped = true
    }

    /// SIGINT and SIGTERM reach `handler`; the servers are in process groups of their own and do
    /// not see the terminal's Ctrl-C.
    private func watchSignals(
        _ handler: @escaping @Sendable () -> Void
    ) -> [any DispatchSourceSignal] {
        [SIGINT, SIGTERM].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(
                signal: number, queue: DispatchQueue.global())
            source.setEventHandler(handler: handler)
            source.activate()
            return source
        }
    }

    private func introduction(_ addresses: LocalStack.Addresses) -> String {
        let folder = settings.folder == .standard ? "" : " --data-dir \(settings.folder.path)"
        return """

            Post an event of your own:

              curl -i http://\(addresses.api)/events -H 'Authorization: Bearer \(addresses.token)' \\
                -H 'Content-Type: application/json' -d '{"schema_version":1,
                "event_id":"'$(cat /proc/sys/kernel/random/uuid)'","client_id":"me",
                "target":"https://example.com","ts_ms":'$(date +%s%3N)',
                "timing_measurements":{"dns_ms":15.3,"ttfb_ms":125.8}}'

            Open SQL:

              qoectl local psql\(folder)

            Targets with settable faults: \(addresses.http)/ and \(addresses.https)/
            Stop with Ctrl-C.

            """
    }
}
