/// What the packets of one train carry: a cookie that only this train knows, the packet's number, and bytes
/// that do not compress.
///
/// Answers to an earlier train, to another program, or made up by somebody, are told apart by it.
package struct EchoPayload: Sendable {
    private let cookie: [UInt8]
    private let filling: [UInt8]

    private static let cookieBytes = 16
    private static let numberBytes = 4

    /// - Parameter size: Bytes of every payload; at least 20 are made.
    package init(size: Int, using generator: inout some RandomNumberGenerator) {
        func random(_ count: Int) -> [UInt8] {
            (0..<max(0, count)).map { _ in UInt8.random(in: 0 ... .max, using: &generator) }
        }
        cookie = random(Self.cookieBytes)
        filling = random(size - Self.cookieBytes - Self.numberBytes)
    }

    /// The payload of the packet with this number, from 0.
    package func bytes(of number: Int) -> [UInt8] {
        let number = UInt32(truncatingIfNeeded: number)
        let digits = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> UInt32($0)) }
        return cookie + digits + filling
    }

    /// The number of the packet whose payload came back unchanged; nil for any other bytes.
    package func number(in bytes: some Collection<UInt8>) -> Int? {
        guard bytes.count == Self.cookieBytes + Self.numberBytes + filling.count,
            bytes.prefix(Self.cookieBytes).elementsEqual(cookie)
        else { return nil }
        let rest = bytes.dropFirst(Self.cookieBytes)
        guard rest.dropFirst(Self.numberBytes).elementsEqual(filling) else { return nil }
        return rest.prefix(Self.numberBytes).reduce(0) { $0 << 8 | Int($1) }
    }
}
