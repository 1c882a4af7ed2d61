internal import Transport

/// What the handshake with an ingest says.
///
/// A pure value.
struct TLSCheck {
    static let name = "tls"
    /// A certificate with fewer days left is worth a warning.
    private static let daysMin: Int64 = 14
    private static let secondsOfDay: Int64 = 86_400

    let url: HTTPURL
    let authorityFile: String?
    /// The wall clock, by which certificates are judged.
    let nowSeconds: Int64

    /// - Parameter handshake: Nil for a connection without TLS.
    func accepted(_ handshake: TLSHandshake?) -> CheckFinding {
        guard url.isSecure, let handshake else { return clear }
        guard let certificate = handshake.certificate else {
            return .ok(Self.name, of: url.authority, handshake.version)
        }
        let trust = authorityFile.map { "the system's authorities or \($0)" } ?? "the system"
        let found =
            "\(handshake.version), \(text(of: certificate)), trusted by \(trust)"
        guard daysLeft(certificate) >= Self.daysMin else {
            return .warning(Self.name, of: url.authority, found, "renew ingest's certificate")
        }
        return .ok(Self.name, of: url.authority, found)
    }

    /// - Parameter handshake: As far as it came.
    func refused(_ error: TransportError, _ handshake: TLSHandshake?) -> CheckFinding {
        guard error.code == .certificate else {
            return .failed(
                Self.name, of: url.authority, error.message,
                "see whether ingest speaks TLS at this port")
        }
        let certificate = handshake?.certificate
        let found = error.message + (certificate.map { " (\(text(of: $0)))" } ?? "")
        let isExpired = certificate.map { daysLeft($0) < 0 } ?? false
        return .failed(
            Self.name, of: url.authority, found,
            isExpired
                ? "renew ingest's certificate, or correct this machine's clock"
                : "name the authority's certificate with --ca-file, write the name that the"
                    + " certificate is for in --ingest-url, and see whether the clock is right")
    }

    private var clear: CheckFinding {
        let address = url.literalAddress?.host
        let isLocal =
            url.host == "localhost" || address == "::1" || address?.hasPrefix("127.") == true
        guard !isLocal else {
            return .skipped(Self.name, of: url.authority, "http on this machine")
        }
        return .warning(
            Self.name, of: url.authority, "http: token and events are readable on the way",
            "give ingest a certificate and write https in --ingest-url")
    }

    private func text(of certificate: PeerCertificate) -> String {
        "certificate of \(certificate.subject) by \(certificate.issuer),"
            + " \(daysLeft(certificate)) days left"
    }

    /// Rounded down: what ended a minute ago has less than no day left.
    private func daysLeft(_ certificate: PeerCertificate) -> Int64 {
        let (left, overflow) = certificate.expiresAtSeconds.subtractingReportingOverflow(nowSeconds)
        guard !overflow else { return certificate.expiresAtSeconds < 0 ? -1 : .max }
        let (days, rest) = left.quotientAndRemainder(dividingBy: Self.secondsOfDay)
        return rest < 0 ? days - 1 : days
    }
}
