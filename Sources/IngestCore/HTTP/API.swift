internal import CoreMetrics
internal import EventParsing
internal import Glibc
internal import Gzip
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import ServiceKit

/// What all connections share: the rules by which a request is admitted, and what serves it.
struct API: Sendable {
    let configuration: IngestConfiguration
    let tokens: TokenStore
    let link: BusLink
    let bounds: IntakeBounds
    let rates: RateGate
    let health: HealthRegistry
    let metrics: IngestMetrics
    let logger: Logger
    /// The answer to `GET /openapi.json`, made once.
    let openAPI: Answer

    /// What becomes of a request by its head alone.
    enum Admission {
        case refused(Answer)
        case admitted(Caller, EventParser.Form, isCompressed: Bool)
    }

    /// Most header fields of a request.
    static let headerFieldsMax = 64
    /// Longest request target and header field, bytes.
    static let headerFieldBytesMax = 8 << 10
    /// All header fields of a request together, bytes.
    static let headerBytesMax = 16 << 10

    var requestTimeout: TimeAmount { TimeAmount(configuration.requestTimeout) }
    var headerTimeout: TimeAmount { TimeAmount(configuration.headerTimeout) }
    var idleTimeout: TimeAmount { TimeAmount(configuration.idleTimeout) }

    /// For a connection that begins.
    func newIdentity() -> ConnectionIdentity {
        ConnectionIdentity(tokens: tokens) { [configuration] in configuration.limits(of: $0) }
    }

    var tooLarge: Answer {
        metrics.countRejection(.payloadTooLarge)
        return .closing(
            .payloadTooLarge, "the body is longer than \(configuration.bodyBytesMax) bytes")
    }

    /// The answer to a body whose compression is wrong; the connection ends with it.
    func answer(_ failure: GzipInflater.Failure) -> Answer {
        let isTooLarge = failure.code == .tooLarge || failure.code == .ratioTooHigh
        let code: RejectionCode = isTooLarge ? .payloadTooLarge : .invalidRequest
        metrics.countRejection(code)
        return .closing(code, "the gzip body cannot be used: \(failure.description)")
    }

    /// Judges a request before its body is read. What is only read, such as `/health`, is refused
    /// with its answer.
    func admit(
        _ head: HTTPRequestHead, _ route: Route, identity: inout ConnectionIdentity,
        at now: NIODeadline
    ) -> Admission {
        if let answer = framingProblem(head) {
            metrics.countRejection(.invalidRequest)
            return .refused(answer)
        }
        guard route != .other else {
            return refusal(
                .notFound,
                "there is no such path; there are POST /events, POST /heartbeats, GET /health, "
                    + "GET /ready and GET /openapi.json")
        }
        guard route.methods.contains(head.method) else {
            let methods = route.methods.map(\.rawValue).joined(separator: ", ")
            var answer = Answer(
                EventRejection(.methodNotAllowed, "this path answers \(methods) only"))
            answer.headers.append(("Allow", methods))
            metrics.countRejection(.methodNotAllowed)
            return .refused(answer)
        }
        switch route {
        case .health: return .refused(Answer(health.liveness()))
        case .ready: return .refused(Answer(health.readiness()))
        case .openAPI: return .refused(openAPI)
        case .events, .heartbeats, .other: return admitPost(head, route, &identity, now)
        }
    }

    private func admitPost(
        _ head: HTTPRequestHead, _ route: Route, _ identity: inout ConnectionIdentity,
        _ now: NIODeadline
    ) -> Admission {
        guard let caller = identity.identify(head) else {
            return refusal(
                .unauthorized,
                "give a valid token: Authorization: Bearer TOKEN, as made by 'qoectl token create'")
        }
        guard caller.role == .probe else {
            return refusal(
                .forbidden,
                "posting needs a token with the role probe; this one has the role "
                    + caller.role.rawValue)
        }
        let codings = head.headers["content-encoding"]
        let coding = codings.first?.lowercased() ?? "identity"
        guard codings.count <= 1, coding == "identity" || coding == "gzip" else {
            return refusal(
                .unsupportedMediaType, "send the body with Content-Encoding gzip, or without any")
        }
        guard let form = bodyForm(contentType: head.headers.first(name: "content-type")),
            form == .json || route == .events
        else {
            return refusal(
                .unsupportedMediaType,
                route == .events
                    ? "send application/json or application/x-ndjson" : "send application/json")
        }
        if let text = head.headers.first(name: "content-length"), let count = Int(text),
            count > configuration.bodyBytesMax
        {
            return .refused(tooLarge)
        }
        if let excess = rates.excess(caller, at: Int64(clamping: now.uptimeNanoseconds)) {
            metrics.countRejection(.rateLimitExceeded)
            return .refused(Answer(excess))
        }
        guard link.publisher != nil else {
            metrics.countRejection(.serviceUnavailable)
            return .refused(.unavailable("NATS is not reachable"))
        }
        return .admitted(caller, form, isCompressed: coding == "gzip")
    }

    /// What is wrong with how the request is delimited; what follows on the connection is not to be trusted.
    private func framingProblem(_ head: HTTPRequestHead) -> Answer? {
        let headers = head.headers
        guard head.version.major == 1 else {
            return .closing(.invalidRequest, "the request is not HTTP/1.1")
        }
        if head.version.minor >= 1, headers["host"].count != 1 {
            return .closing(.invalidRequest, "the request must have one Host header field")
        }
        let codings = headers["transfer-encoding"]
        let isChunked = codings.count == 1 && codings[0].lowercased() == "chunked"
        guard codings.isEmpty || isChunked && !headers.contains(name: "content-length") else {
            return .closing(.invalidRequest, "the request's length cannot be told")
        }
        return nil
    }

    private func refusal(_ code: RejectionCode, _ message: String) -> Admission {
        metrics.countRejection(code)
        return .refused(Answer(EventRejection(code, message)))
    }
}

/// The server's clock, Unix milliseconds.
func wallClockMilliseconds() -> Int64 {
    var moment = timespec()
    clock_gettime(CLOCK_REALTIME, &moment)
    return Int64(moment.tv_sec) * 1000 + Int64(moment.tv_nsec) / 1_000_000
}
