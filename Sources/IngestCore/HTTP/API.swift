internal import CoreMetrics
internal import EventParsing
internal import FoundationEssentials
internal import Glibc
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
    let health: HealthRegistry
    let metrics: IngestMetrics
    let logger: Logger

    /// What becomes of a request by its head alone.
    enum Admission {
        case refused(Answer)
        case admitted(ClientScope, EventParser.Form)
    }

    /// Most header fields of a request.
    static let headerFieldsMax = 64
    /// Longest request target and header field, bytes.
    static let headerFieldBytesMax = 8 << 10
    /// All header fields of a request together, bytes.
    static let headerBytesMax = 16 << 10

    var bodyBytesMax: Int { configuration.bodyBytesMax }
    var requestTimeout: TimeAmount { TimeAmount(configuration.requestTimeout) }
    var idleTimeout: TimeAmount { TimeAmount(configuration.idleTimeout) }
    /// How often a connection looks at its deadline.
    var deadlineStep: TimeAmount {
        .nanoseconds(min(requestTimeout, idleTimeout).nanoseconds / 4)
    }

    var tooLarge: Answer {
        .closing(.payloadTooLarge, "the body is longer than \(bodyBytesMax) bytes")
    }

    /// Judges a request before its body is read. `/health` and `/ready` are refused with their answers.
    func admit(_ head: HTTPRequestHead, _ route: Route) -> Admission {
        if let answer = framingProblem(head) { return .refused(answer) }
        guard route != .other else {
            return refusal(
                .notFound,
                "there is no such path; there are POST /events, POST /heartbeats, GET /health and "
                    + "GET /ready")
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
        case .events, .heartbeats, .other: return admitPost(head, route)
        }
    }

    private func admitPost(_ head: HTTPRequestHead, _ route: Route) -> Admission {
        guard let token = token(of: head) else {
            return refusal(
                .unauthorized,
                "give a valid token: Authorization: Bearer TOKEN, as made by 'qoectl token create'")
        }
        guard token.role == .probe else {
            return refusal(
                .forbidden,
                "posting needs a token with the role probe; this one has the role "
                    + token.role.rawValue)
        }
        let coding = head.headers.first(name: "content-encoding")?.lowercased() ?? "identity"
        guard coding == "identity" else {
            return refusal(.unsupportedMediaType, "send the body without a Content-Encoding")
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
            count > bodyBytesMax
        {
            metrics.countRejection(.payloadTooLarge)
            return .refused(tooLarge)
        }
        guard link.publisher != nil else {
            metrics.countRejection(.serviceUnavailable)
            return .refused(.unavailable("NATS is not reachable"))
        }
        return .admitted(token.scope, form)
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

    private func token(of head: HTTPRequestHead) -> TokenEntry? {
        let fields = head.headers["authorization"]
        guard fields.count == 1, let space = fields[0].firstIndex(of: " ") else { return nil }
        let field = fields[0]
        guard field[..<space].lowercased() == "bearer" else { return nil }
        let token = field[space...].drop { $0 == " " }
        return tokens.entry(of: token, at: .now)
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
