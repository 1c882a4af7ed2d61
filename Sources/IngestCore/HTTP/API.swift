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

    /// The answer to a body that is too long, which is counted; the connection ends with it.
    func refuseTooLarge() -> Answer {
        metrics.countRejection(.payloadTooLarge)
        return .closing(
            .payloadTooLarge, "the body is longer than \(configuration.bodyBytesMax) bytes")
    }

    /// The answer to a body whose compression is wrong, which is counted; the connection ends with it.
    func refuse(_ failure: GzipInflater.Failure) -> Answer {
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
            metrics.countClosed(.malformed)
            return .refused(answer)
        }
        guard route != .other else {
            return refusal(
                .notFound,
                "there is no such path; there are POST /events, POST /heartbeats, GET /api/v1/time, "
                    + "GET /health, GET /ready and GET /openapi.json")
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
        case .time: return admitQuestion(head, &identity)
        case .events, .heartbeats, .other: return admitPost(head, route, &identity, now)
        }
    }

    /// Answers with the server's clock: to any role, and at no cost for the rates, as nothing is stored.
    private func admitQuestion(
        _ head: HTTPRequestHead, _ identity: inout ConnectionIdentity
    ) -> Admission {
        let headReadAt = wallClockMicroseconds()
        guard identity.identify(head) != nil else { return refusalOfUnknown }
        return .refused(.time(headReadAtMicroseconds: headReadAt))
    }

    private var refusalOfUnknown: Admission {
        refusal(
            .unauthorized,
            "give a valid token: Authorization: Bearer TOKEN, as made by 'qoectl token create'")
    }

    private func admitPost(
        _ head: HTTPRequestHead, _ route: Route, _ identity: inout ConnectionIdentity,
        _ now: NIODeadline
    ) -> Admission {
        guard let caller = identity.identify(head) else { return refusalOfUnknown }
        guard caller.role == .probe else {
            return refusal(
                .forbidden,
                "posting needs a token with the role probe; this one has the role "
                    + caller.role.rawValue)
        }
        let codings = head.headers["content-encoding"]
        let coding = codings.first.map { withoutBlanks($0).lowercased() } ?? "identity"
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
        // Digits only, and perhaps more than fit.
        if let text = head.headers.first(name: "content-length"),
            Int(withoutBlanks(text)) ?? .max > configuration.bodyBytesMax
        {
            return .refused(refuseTooLarge())
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

    /// What is wrong with how the request is delimited or addressed; what follows on the connection is not to be
    /// trusted, since a proxy may have understood it otherwise (RFC 9112, section 11.2).
    private func framingProblem(_ head: HTTPRequestHead) -> Answer? {
        guard head.version.major == 1 else {
            return .closing(.invalidRequest, "the request is not HTTP/1.1")
        }
        let isHTTP10 = head.version.minor < 1
        var hostCount = 0
        var lengthCount = 0
        var codingCount = 0
        var isGood = true
        // Once over all fields; most are told apart by their names' lengths.
        for (name, value) in head.headers {
            switch name.utf8.count {
            case 4 where name.lowercased() == "host":
                hostCount += 1
                isGood = isGood && withoutBlanks(value).utf8.allSatisfy(Self.isHostByte)
            case 14 where name.lowercased() == "content-length":
                lengthCount += 1
                let digits = withoutBlanks(value).utf8
                isGood = isGood && !digits.isEmpty && digits.allSatisfy { 0x30...0x39 ~= $0 }
            case 17 where name.lowercased() == "transfer-encoding":
                codingCount += 1
                isGood = isGood && !isHTTP10 && withoutBlanks(value).lowercased() == "chunked"
            default: break
            }
        }
        guard hostCount == 1 || isHTTP10 && hostCount == 0 else {
            return .closing(.invalidRequest, "the request must have one Host header field")
        }
        guard isGood, lengthCount + codingCount <= 1 else {
            return .closing(
                .invalidRequest, "the request's length or host cannot be told for certain")
        }
        return nil
    }

    /// Whether a host and port may hold the byte (RFC 3986, section 3.2.2, without what is percent-encoded).
    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        case UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ":"),
            UInt8(ascii: "["), UInt8(ascii: "]"):
            true
        default: false
        }
    }

    private func refusal(_ code: RejectionCode, _ message: String) -> Admission {
        metrics.countRejection(code)
        return .refused(Answer(EventRejection(code, message)))
    }
}

/// The server's clock, Unix milliseconds.
func wallClockMilliseconds() -> Int64 {
    wallClockMicroseconds() / 1000
}

/// The server's clock, Unix microseconds.
func wallClockMicroseconds() -> Int64 {
    var moment = timespec()
    clock_gettime(CLOCK_REALTIME, &moment)
    return Int64(moment.tv_sec) * 1_000_000 + Int64(moment.tv_nsec) / 1000
}

/// A field's value; the decoder leaves the blanks behind it, which are no part of it (RFC 9112, section 5.1).
func withoutBlanks(_ value: String) -> Substring {
    var value = Substring(value)
    while let last = value.utf8.last, last == UInt8(ascii: " ") || last == UInt8(ascii: "\t") {
        value.removeLast()
    }
    return value
}
