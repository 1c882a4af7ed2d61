internal import Telemetry
internal import Transport

/// Measures round trips to a server on fresh connections, each with one small request.
struct RoundTripProbe: Sendable {
    let dialer: Dialer
    let url: HTTPURL
    let family: AddressFamily?
    let userAgent: String

    /// One connection's round trips.
    struct Sample: Sendable {
        let began: MonotonicInstant
        /// When the TCP handshake was over, at the latest.
        let connected: MonotonicInstant
        /// The time of the TCP handshake.
        let tcp: Duration
        /// The kernel's round-trip time of that handshake; nil when the SYN was repeated without time stamps.
        let roundTrip: Duration?
        /// The time of the TLS handshake by its number of round trips; nil without TLS.
        let tlsRoundTrip: Duration?
        /// From the request written to the answer's end.
        let http: Duration
    }

    /// The largest small answer, bytes.
    private static let bodyBytesMax = 256 * 1024
    private static let readBytes = 16 * 1024

    /// Makes a connection, to `address` if it is known already, and one small request on it.
    func measure(
        at address: SocketAddress? = nil, _ patience: Patience, _ progress: inout Dialer.Progress
    ) throws(TransferFailure) -> Sample {
        let began = MonotonicInstant.now()
        let connection: Connection
        do throws(TransportError) {
            connection =
                if let address {
                    try dialer.dial(url, at: address, patience, &progress)
                } else {
                    try dialer.dial(url, family: family, patience, &progress)
                }
        } catch {
            throw TransferFailure(stage: progress.stage, cause: .transport(error))
        }
        let dialled = MonotonicInstant.now()
        let http: Duration
        do throws(HTTPFailure) { http = try request(over: connection, patience) } catch {
            throw TransferFailure(stage: .http, cause: error)
        }
        let trips = progress.handshake.map { max(1, $0.roundTrips) } ?? 1
        return Sample(
            began: began, connected: dialled, tcp: progress.tcp ?? dialled.since(began),
            roundTrip: progress.roundTrip, tlsRoundTrip: progress.tls.map { $0 / trips },
            http: http)
    }

    private func request(
        over connection: Connection, _ patience: Patience
    ) throws(HTTPFailure) -> Duration {
        let head =
            "GET \(url.requestTarget) HTTP/1.1\r\nHost: \(url.authority)\r\n"
            + "User-Agent: \(userAgent)\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
            + "Connection: close\r\n\r\n"
        let bytes = Array(head.utf8)
        var buffer = [UInt8](repeating: 0, count: Self.readBytes)
        var reader = HTTPResponseReader()
        do {
            try connection.write(bytes.span, patience)
            let written = MonotonicInstant.now()
            while !reader.isComplete {
                let count = try connection.read(into: &buffer, patience)
                if count == 0 {
                    try reader.finish()
                    break
                }
                try reader.consume(buffer.span.extracting(0..<count))
                guard reader.bodyBytes <= Self.bodyBytesMax else {
                    throw HTTPViolation(
                        .bodyTooLarge,
                        "what shall be small is larger than \(Self.bodyBytesMax) bytes;"
                            + " give another path as small=/…")
                }
            }
            if let status = reader.head?.status, status >= 400 {
                throw HTTPViolation(
                    .unwantedStatus,
                    "the server answered \(status) to \(shown(url.requestTarget)); give another path as"
                        + " small=/…")
            }
            return MonotonicInstant.now().since(written)
        } catch let error as TransportError {
            throw .transport(error)
        } catch let error as HTTPViolation {
            throw .violation(error)
        } catch {
            preconditionFailure("only transport errors and violations are thrown above: \(error)")
        }
    }
}
