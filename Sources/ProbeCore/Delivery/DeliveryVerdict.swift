/// What to do with a batch after the attempt to post it.
package enum DeliveryVerdict: Sendable, Equatable {
    /// The events are durable, but for those that ingest refused for good: remove all.
    case delivered(rejected: [IngestAnswer.Reject])
    /// Ingest refuses the whole batch for good: remove it.
    case refused([IngestAnswer.Reject], code: String)
    /// The batch is too large: post less at once.
    case tooLarge
    /// The server, or something before it, cannot read gzip: post the same as it is.
    case compressionRefused
    /// The server cannot now: keep the events, wait at least this long, or as the backoff says; others may be
    /// tried meanwhile. Some of the events may be stored all the same.
    case unavailable(waitAtLeast: Duration?)
    /// The server wants fewer posts, and stored nothing: keep the events and wait with all servers.
    case throttled(waitAtLeast: Duration?)
    /// The token may not speak for the client of any of the events, of which nothing was stored: keep them and try
    /// rarely.
    case forbidden(String)
    /// The post itself is not accepted, and only a person can mend that: keep the events and try rarely.
    case misconfigured(String)

    /// Decides by the answer alone.
    ///
    /// Events are only removed on 202 or on ingest's own refusal: a captive portal's 200, a proxy's 400
    /// or a wrong path's 404 must not eat what was measured.
    package static func after(
        status: Int, retryAfter: Duration?, answer: IngestAnswer?, isCompressed: Bool = false
    ) -> DeliveryVerdict {
        switch status {
        case 202:
            return .delivered(rejected: answer?.rejected ?? [])
        case 400, 422:
            guard let answer else {
                return .misconfigured("answered \(status), but not as ingest does")
            }
            // No event is named: it may be the coding that did not survive the way.
            if isCompressed && answer.rejected.isEmpty { return .compressionRefused }
            return .refused(answer.rejected, code: answer.error ?? "invalid_request")
        case 401:
            return .misconfigured("does not know the token; check --token-file")
        case 403:
            return .forbidden(
                "refuses this token for this client; check --token-file and --client-id")
        case 413:
            return .tooLarge
        case 415 where isCompressed:
            return .compressionRefused
        case 429:
            return .throttled(waitAtLeast: retryAfter)
        case 408, 425, 500...599:
            return .unavailable(waitAtLeast: retryAfter)
        default:
            return .misconfigured("answered \(status), which ingest never does; check --ingest-url")
        }
    }
}
