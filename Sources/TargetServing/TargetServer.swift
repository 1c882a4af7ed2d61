internal import OwnedThreads
package import Transport

/// A small server to be measured, over http and https, with faults that its client asks for.
///
/// - `/`, this list; `/fast`, a short answer at once.
/// - `/slow?ms=N`: waits N ms before the answer's first byte, at most a minute.
/// - `/fail`, `/fail?status=N`: answers 500 or N.
/// - `/bytes/N`: a body of N bytes, of any size.
/// - `/truncate?bytes=N`: promises one byte more than the N it sends before it closes.
/// - A POST to any path, its body chunked or with a length, of any size: its bytes are counted.
///
/// Each connection holds one of a fixed number of threads; further ones wait in the kernel's queue.
package final class TargetServer: Sendable {
    /// The most connections that are served at once, for each of http and https.
    package static let connectionsMax = 16
    /// How long a client may take to send a request's head, or a piece of a body, or to take one.
    private static let clientTimeout = Duration.seconds(30)
    /// The pause after an error of the system, such as no free descriptors, which passes.
    private static let acceptPause = Duration.milliseconds(100)

    /// Where the server can be found without TLS, such as `http://127.0.0.1:8080`.
    package let httpURL: String
    /// Where the server can be found with TLS.
    package let httpsURL: String
    /// The authority that signed the server's certificate, PEM: what clients have to trust.
    package let authorityFile: String

    private let interrupt: Interrupt
    private let threads = Monitor<[OwnedThread]>([])

    /// Starts to serve.
    ///
    /// - Parameters:
    ///   - folder: An existing folder for the certificates and the key, which are made anew.
    ///   - host: An IP address of this machine. The certificate is for it and for `localhost`.
    ///   - httpPort: 0 for any free one; so is `httpsPort`.
    /// - Throws: ``Transport/TransportError`` when an address cannot be listened on or a file not written.
    package init(
        folder: String, host: String = "127.0.0.1", httpPort: UInt16 = 0, httpsPort: UInt16 = 0
    ) throws(TransportError) {
        let certificateFile = "\(folder)/target.pem"
        let keyFile = "\(folder)/target.key"
        authorityFile = "\(folder)/authority.pem"
        let authority = try LocalAuthority()
        try authority.writeCertificate(to: authorityFile)
        try authority.issue(
            for: [host, "localhost"], certificateFile: certificateFile, keyFile: keyFile)
        let tls = try TLSContext.server(
            certificateFile: certificateFile, keyFile: keyFile, applicationProtocol: .http1)

        let http = try Listener(host: host, port: httpPort)
        let https = try Listener(host: host, port: httpsPort)
        httpURL = "http://\(http.address)"
        httpsURL = "https://\(https.address)"
        let interrupt = try Interrupt()
        self.interrupt = interrupt
        let indices = 0..<Self.connectionsMax
        let started =
            indices.map { index in
                OwnedThread(name: "http-\(index)") { Self.serve(http, nil, interrupt) }
            }
            + indices.map { index in
                OwnedThread(name: "https-\(index)") { Self.serve(https, tls, interrupt) }
            }
        threads.update { $0 = started }
    }

    deinit {
        stop()
    }

    /// Breaks off what is being served, and ends. Later calls return at once.
    package func stop() {
        interrupt.trigger()
        let ended = threads.update { threads in
            defer { threads = [] }
            return threads
        }
        for thread in ended { thread.join() }
    }

    private static func serve(_ listener: Listener, _ tls: TLSContext?, _ interrupt: Interrupt) {
        // Without an end of its own: the interrupt ends it.
        let forever = Patience(until: MonotonicInstant(nanoseconds: .max), interrupt: interrupt)
        while !interrupt.isTriggered {
            do throws(TransportError) {
                let connection = try listener.accept(forever)
                if let tls {
                    try connection.acceptTLS(
                        tls, Patience(for: clientTimeout, interrupt: interrupt))
                }
                var exchange = TargetExchange(
                    connection, timeout: clientTimeout, interrupt: interrupt)
                while try exchange.next() {}
                connection.finishWriting()
            } catch {
                // A client that breaks off is its own affair.
                if error.code == .system { interrupt.sleep(for: acceptPause) }
            }
        }
    }
}
