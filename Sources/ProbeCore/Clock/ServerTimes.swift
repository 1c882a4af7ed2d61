internal import FoundationEssentials
internal import Transport

/// What an answer of ingest tells about its clock.
struct ServerTimes: Decodable {
    /// When the request's head was read and the answer written, Unix microseconds.
    let server_recv_us: Int64?
    let server_send_us: Int64?
    /// When the request was whole, Unix milliseconds: all that an older ingest tells, in answer to what is posted.
    let recv_ts_ms: Int64?
}

extension TimeExchange {
    /// The exchange that an answer ends; nil when it does not tell the server's time.
    init?(_ answer: HTTPPoster.Answer) {
        guard
            let times = try? JSONDecoder().decode(ServerTimes.self, from: Data(answer.body))
        else { return nil }
        if let received = times.server_recv_us, let sent = times.server_send_us {
            self.init(answer, received, sent, unitNanoseconds: 1000)
        } else if let received = times.recv_ts_ms {
            self.init(answer, received, received, unitNanoseconds: 1_000_000)
        } else {
            return nil
        }
    }

    private init?(
        _ answer: HTTPPoster.Answer, _ received: Int64, _ sent: Int64, unitNanoseconds: Int64
    ) {
        let (received, isReceivedBeyond) = received.multipliedReportingOverflow(by: unitNanoseconds)
        let (sent, isSentBeyond) = sent.multipliedReportingOverflow(by: unitNanoseconds)
        guard !isReceivedBeyond, !isSentBeyond else { return nil }
        self.init(
            asked: answer.asked, serverReceived: received, serverSent: sent,
            answered: answer.answered, resolution: unitNanoseconds)
    }
}
