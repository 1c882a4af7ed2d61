internal import NIOCore

/// Notes when bytes come, before the decoder: a head that comes slowly shows nowhere else.
final class ArrivalCounter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// Whether anything came since the last whole request.
    private(set) var hasBytesSinceMark = false
    private(set) var firstSinceMark = NIODeadline.now()
    /// Of the whole connection.
    private(set) var byteCount = 0

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        byteCount += unwrapInboundIn(data).readableBytes
        if !hasBytesSinceMark {
            hasBytesSinceMark = true
            firstSinceMark = .now()
        }
        context.fireChannelRead(data)
    }

    /// A request ended.
    ///
    /// What the same bytes hold behind it is not seen: the next ones count again.
    func mark() {
        hasBytesSinceMark = false
    }

    /// Nothing was read for a while: time begins anew for a request of which a part is there.
    func restart() {
        firstSinceMark = .now()
    }
}
