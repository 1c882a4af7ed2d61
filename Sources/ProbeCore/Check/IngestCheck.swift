internal import FoundationEssentials
internal import Telemetry
internal import Transport

/// All between this probe and one ingest, in the order in which a post depends on it.
///
/// Used by one thread, once.
final class IngestCheck {
    /// The target in the event of a check, which no target of a probe should be called.
    static let eventTarget: Name = "probe-check"
    private static let exchangeCount = 4

    /// What is posted, and whether.
    struct Posting: Sendable {
        let clientID: Name
        /// The session and the identifier are the same for all servers, so that the event counts once.
        let session: UniqueID
        let eventID: UniqueID
        let context: NetworkContext
        /// Why nothing is posted; nil to post.
        let eventObjection: String?
        let heartbeatObjection: String?
    }

    private let url: HTTPURL
    private let dialer: Dialer
    private let authorityFile: String?
    private let token: TokenSource?
    private let clock: ReferenceClock
    private let posting: Posting
    private let timeout: Duration
    private let suppression = Suppression()
    private let poster: HTTPPoster
    private var roundTrip: Duration?

    private struct Step: Sendable {
        let name: String
        let run: @Sendable (IngestCheck, Patience) -> CheckFinding
    }

    private static let steps = [
        Step(name: "connect") { $0.connect($1) },
        Step(name: "health") { $0.askHealth($1) },
        Step(name: "access") { $0.askTime($1) },
        Step(name: "event") { $0.postEvent($1) },
        Step(name: "heartbeat") { $0.postHeartbeat($1) },
    ]

    /// - Parameter clock: Takes the exchanges with this server.
    init(
        _ url: HTTPURL, dialer: Dialer, authorityFile: String?, token: TokenSource?,
        clock: ReferenceClock, posting: Posting, timeout: Duration
    ) {
        self.url = url
        self.dialer = dialer
        self.authorityFile = authorityFile
        self.token = token
        self.clock = clock
        self.posting = posting
        self.timeout = timeout
        poster = HTTPPoster(
            dialer: dialer, userAgent: Product.userAgent, suppression: suppression)
    }

    /// A finding for each step; once one has failed the others are skipped.
    func run() -> [CheckFinding] {
        var findings: [CheckFinding] = []
        for step in Self.steps {
            if let failed = findings.first(where: { $0.result == .failed }) {
                findings.append(.skipped(step.name, of: subject, "after \(failed.name) failed"))
                continue
            }
            findings.append(timed { step.run(self, Patience(for: timeout)) })
            if step.name == "connect" { findings.append(tls) }
        }
        if suppression.isActive {
            findings.append(
                .warning(
                    "suppression", of: subject, "ingest tells all probes to measure nothing",
                    "have the operator of ingest lift it when it is no longer wanted"))
        }
        return findings
    }

    private var subject: String { url.authority }

    /// What the handshake of ``connect(_:)`` found.
    private lazy var tls = CheckFinding.skipped(TLSCheck.name, of: subject, "no connection")

    private func connect(_ patience: Patience) -> CheckFinding {
        var progress = Dialer.Progress()
        let dialled = Result { () throws(TransportError) in
            try dialer.dial(url, patience, &progress)
        }
        let address = progress.remoteAddress.map { "\($0)" } ?? subject
        guard let tcp = progress.tcp else {
            guard case .failure(let error) = dialled else {
                return .ok("connect", of: subject, address)
            }
            return .failed("connect", of: subject, error.message, Self.advice(error))
        }
        let check = TLSCheck(
            url: url, authorityFile: authorityFile,
            nowSeconds: WallClock.nowMilliseconds() / 1000)
        switch dialled {
        case .success: tls = check.accepted(progress.handshake)
        case .failure(let error): tls = check.refused(error, progress.handshake)
        }
        tls.duration = progress.tls ?? .zero
        return .ok("connect", of: subject, "\(address) in \(decimal(tcp.inMilliseconds)) ms")
    }

    private static func advice(_ error: TransportError) -> String {
        switch error.code {
        case .refused: "start ingest there, or correct the host and port of --ingest-url"
        case .nameNotFound, .nameLookupFailed: "see the check dns of this host"
        case .timedOut, .unreachable:
            "let a firewall pass connections to that port, or correct --ingest-url"
        default: "see whether ingest is well"
        }
    }

    private func address(_ path: String) -> HTTPURL {
        url.with(requestTarget: url.path(appending: path))
    }

    private func askHealth(_ patience: Patience) -> CheckFinding {
        do throws(HTTPFailure) {
            let answer = try poster.get(address("/health"), token: nil, patience)
            guard answer.status == 200 else {
                return .failed(
                    "health", of: subject, "/health answered \(answer.status)",
                    "see whether --ingest-url is ingest's base address, and whether a proxy or a"
                        + " captive portal answers in its place")
            }
            return .ok("health", of: subject, "/health answered 200")
        } catch {
            return unanswered("health", error)
        }
    }

    private func askTime(_ patience: Patience) -> CheckFinding {
        guard let token else {
            // What ingest says without one would mislead.
            return .failed(
                "access", of: subject, "the token cannot be used", "see the check token")
        }
        for _ in 0..<Self.exchangeCount {
            do throws(HTTPFailure) {
                let answer = try poster.get(
                    address("/api/v1/time"), token: token.current, patience)
                guard answer.status == 200 else { return refusedAccess("access", answer) }
                guard let exchange = TimeExchange(answer) else {
                    return .failed(
                        "access", of: subject, "/api/v1/time does not tell a time",
                        "see whether --ingest-url is ingest's base address")
                }
                clock.add(exchange, with: 0)
                let delay = exchange.delay
                roundTrip = min(roundTrip ?? delay, delay)
            } catch {
                return unanswered("access", error)
            }
        }
        let time = roundTrip.map {
            "; the way there and back takes \(decimal($0.inMilliseconds)) ms"
        }
        let holder = token.current == nil ? "no token is wanted" : "the token is accepted"
        return .ok("access", of: subject, holder + (time ?? ""))
    }

    private func postEvent(_ patience: Patience) -> CheckFinding {
        if let objection = posting.eventObjection {
            return .skipped("event", of: subject, objection)
        }
        let reading = clock.reading()
        let (time, correction) = reading.time(of: reading.moment)
        var event = Event(
            id: posting.eventID, clientID: posting.clientID, target: Self.eventTarget,
            measuredAtMilliseconds: time.milliseconds, context: posting.context,
            sequence: SessionSequence(session: posting.session, number: 1))
        event.metrics[.rtt] = roundTrip.flatMap { MetricValue($0.inMilliseconds, of: .rtt) }
        do throws(HTTPFailure) {
            let answer = try poster.post(
                event.json(correction, clockWasStepped: false), to: address("/api/v1/events"),
                token: token?.current, patience)
            guard answer.status == 202, IngestAnswer(body: answer.body)?.rejected.isEmpty != false
            else { return refusedAccess("event", answer) }
            return .ok(
                "event", of: subject,
                "stored; SQL shows it with target '\(Self.eventTarget)' and client"
                    + " '\(posting.clientID)'")
        } catch {
            return unanswered("event", error)
        }
    }

    private func postHeartbeat(_ patience: Patience) -> CheckFinding {
        if let objection = posting.heartbeatObjection {
            return .skipped("heartbeat", of: subject, objection)
        }
        var heartbeat = Heartbeat(
            clientID: posting.clientID,
            sentAtMilliseconds: clock.reading().moment.wallMilliseconds)
        heartbeat.session = posting.session
        heartbeat.version = Product.version
        heartbeat.hostname = ProcessUsage.hostname()
        guard let body = try? JSONEncoder().encode(heartbeat) else {
            preconditionFailure("a heartbeat of texts and numbers can be encoded")
        }
        do throws(HTTPFailure) {
            let answer = try poster.post(
                Array(body), to: address("/api/v1/heartbeats"), token: token?.current, patience)
            guard answer.status == 202 else { return refusedAccess("heartbeat", answer) }
            return .ok(
                "heartbeat", of: subject,
                "taken; the fleet shows '\(posting.clientID)' as alive for 90 s")
        } catch {
            return unanswered("heartbeat", error)
        }
    }

    private func unanswered(_ name: String, _ failure: HTTPFailure) -> CheckFinding {
        .failed(
            name, of: subject, failure.message,
            "see whether ingest itself answers there, and not another server or a proxy")
    }

    /// What a status other than the wanted one means.
    private func refusedAccess(_ name: String, _ answer: HTTPPoster.Answer) -> CheckFinding {
        let code = IngestAnswer(body: answer.body)?.code.map { " (\($0))" } ?? ""
        let found = "answered \(answer.status)\(code)"
        return switch answer.status {
        case 202, 400, 422:
            .failed(
                name, of: subject, found + ": it was refused",
                "see the code in docs/http-api.md; for invalid_timestamp see the check clock")
        case 401 where token?.current == nil:
            .failed(name, of: subject, found + ": a token is wanted", "set --token-file")
        case 401:
            .failed(
                name, of: subject, found + ": ingest does not know the token",
                "compare it with ingest's file of tokens; it may have been revoked or be mistyped")
        case 403:
            .failed(
                name, of: subject, found + ": the token is known and may not do this",
                "give the token a role that may post, and let it speak for the client"
                    + " '\(posting.clientID)'")
        case 404, 405:
            name == "access"
                ? .warning(
                    name, of: subject, found + ": an ingest that does not tell the time",
                    "update ingest, or correct the path of --ingest-url")
                : .failed(
                    name, of: subject, found,
                    "correct the path of --ingest-url, or what is in between")
        case 429:
            .warning(
                name, of: subject, found, "ingest wants fewer posts of this token; try again later")
        case 503:
            .failed(
                name, of: subject, found + ": ingest cannot store events now",
                "ask /ready of ingest what is missing; the probe would keep its events meanwhile")
        default:
            .failed(
                name, of: subject, found,
                "see whether ingest itself answers there, and not another server or a proxy")
        }
    }
}

extension TimeExchange {
    /// The time that the question and the answer were under way.
    var delay: Duration {
        let whole = answered.nanoseconds(since: asked)
        let (served, overflow) = serverSent.subtractingReportingOverflow(serverReceived)
        return .nanoseconds(max(0, whole - (overflow ? 0 : max(0, served))))
    }
}

extension IngestAnswer {
    /// A code of ingest's for the first thing that it refused; nil when it is not one of a plain form.
    var code: String? {
        let code = error ?? rejected.first?.error
        let isPlain = code.map { text in
            text.utf8.count <= 40
                && text.utf8.allSatisfy { $0 == UInt8(ascii: "_") || (97...122).contains($0) }
        }
        return isPlain == true ? code : nil
    }
}
