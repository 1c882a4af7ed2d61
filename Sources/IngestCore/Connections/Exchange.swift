internal import NIOCore
internal import NIOHTTP1

/// One request and its answer, on the event loop of its connection.
final class Exchange {
    let head: HTTPRequestHead
    let route: Route
    let beganAt: NIODeadline
    /// Until the answer is written: then it belongs to nobody.
    private(set) var connection: ConnectionHandler?
    /// Of the body, as sent.
    var receivedByteCount = 0
    /// Of the connection when the head was whole, and what came with it.
    var arrivedByteCount = 0
    /// Counted in the bounds and not yet given back.
    var heldByteCount = 0
    /// Whether another request may follow.
    var keepsAlive: Bool
    /// The server's clock when the head was read, Unix microseconds; 0 where no answer tells it.
    let headReadAtMicroseconds: Int64
    var caller: Caller?
    /// The client of the first event, for the access log.
    var client: String?
    /// Nil until it is known.
    var answer: Answer?
    /// Makes the answer when everything is durable.
    var whenStored: (() -> Answer)?

    init(_ head: HTTPRequestHead, route: Route, at moment: NIODeadline, on: ConnectionHandler) {
        self.head = head
        self.route = route
        beganAt = moment
        headReadAtMicroseconds = route == .heartbeats ? wallClockMicroseconds() : 0
        // The decoder reads nothing behind what may change the protocol, although it never does here.
        keepsAlive =
            head.isKeepAlive && head.method != .CONNECT && !head.headers.contains(name: "upgrade")
        connection = on
    }

    var isHEAD: Bool { head.method == .HEAD }

    /// Ends the tie to the connection, which would be a circle.
    func leave() {
        connection = nil
        whenStored = nil
    }
}
