internal import OwnedThreads
package import Transport

/// A small HTTP server to be measured, with faults that its caller sets.
///
/// - `/`, this list; `/fast`, a short answer at once.
/// - `/slow?ms=N`: waits N ms before the answer's first byte, at most a minute.
/// - `/fail`, `/fail?status=N`: answers 500 or N.
/// - `/bytes/N`: a body of N bytes, at most 1 GiB.
/// - `/truncate?bytes=N`: promises one byte more than the N it sends before it closes.
///
/// Each connection holds one of a fixed number of threads; further ones wait in the kernel's queue.
package final class TargetServer: Sendable {
    /// The most connections that are served at once.
    package static let connectionsMax = 32
    /// How long a client may take to send a request or to read its answer.
    private static let clientTimeout = Duration.seconds(30)
    /// How long an acceptor waits before it looks whether the system has recovered from an error.
    private static let acceptPause = Duration.milliseconds(100)

    private let listener: Listener
    private let tls: TLSContext?
    private let interrupt: Interrupt
    private let threads = Monitor<[OwnedThread]>([])

    /// Starts to serve.
    ///
    /// - Parameters:
    ///   - host: An IP address of this machine.
    ///   - port: 0 for any free one; see ``port``.
    ///   - tls: The certificate to serve https with; nil for http.
    /// - Throws: ``Transport/TransportError`` when the address cannot be listened on.
    package init(
        host: String = "127.0.0.1", port: UInt16 = 0, tls: TLSContext? = nil
    ) throws(TransportError) {
        listener = try Listener(host: host, port: port)
        interrupt = try Interrupt()
        self.tls = tls
        let serve = { [listener, tls, interrupt] in Self.serve(listener, tls, interrupt) }
        threads.update { threads in
            threads = (0..<Self.connectionsMax).map { OwnedThread(name: "target-\($0)", serve) }
        }
    }

    /// The port it listens on.
    package var port: UInt16 { listener.address.port }

    /// Where clients find it, such as `https://127.0.0.1:8443`.
    package var url: String {
        (tls == nil ? "http://" : "https://") + listener.address.description
    }

    /// Breaks off what is being served, and ends.
    package func shutDown() {
        interrupt.trigger()
        let ended = threads.update { threads in
            defer { threads = [] }
            return threads
        }
        for thread in ended { thread.join() }
    }

    private static func serve(_ listener: Listener, _ tls: TLSContext?, _ interrupt: Interrupt) {
        while !interrupt.isTriggered {
            do throws(TransportError) {
                // Without an end of its own: the interrupt ends it.
                let forever = MonotonicInstant(nanoseconds: .max)
                let connection = try listener.accept(Patience(until: forever, interrupt: interrupt))
                var exchange = TargetExchange(connection, interrupt: interrupt)
                let patience = Patience(for: clientTimeout, interrupt: interrupt)
                if let tls { try connection.acceptTLS(tls, patience) }
                while try exchange.next(Patience(for: clientTimeout, interrupt: interrupt)) {}
            } catch {
                // A client that breaks off is its own affair; a full table of descriptors passes.
                if error.code == .system {
                    interrupt.sleep(for: acceptPause)
                }
            }
        }
    }
}
