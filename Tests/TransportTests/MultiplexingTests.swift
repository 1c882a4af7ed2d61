import OwnedThreads
import TestKit
import Testing
import Transport

@Suite struct MultiplexingTests {
    private struct Pair {
        let client: Connection
        let server: Connection

        init() throws {
            let listener = try Listener(host: "127.0.0.1", port: 0)
            client = try Connection.open(listener.address, Patience(for: .seconds(5)))
            server = try listener.accept(Patience(for: .seconds(5)))
        }
    }

    @Test func `nothing is waited for`() throws {
        let pair = try Pair()
        var buffer = [UInt8](repeating: 0, count: 16)
        #expect(try pair.client.readAvailable(into: &buffer) == .waitsToRead)
        #expect(try pair.client.writeAvailable([1, 2, 3].span) == .bytes(3))
        let ready = try ConnectionPoll.wait(
            for: [(pair.server, .reading), (pair.client, [.reading, .writing])],
            limit: .seconds(5), interrupt: nil)
        #expect(ready[1] == .writing)
        // The bytes may still be on their way at the first call.
        let arrived = try ConnectionPoll.wait(
            for: [(pair.server, .reading)], limit: .seconds(5), interrupt: nil)
        #expect(arrived == [.reading])
        #expect(try pair.server.readAvailable(into: &buffer) == .bytes(3))
        pair.client.finishWriting()
        _ = try ConnectionPoll.wait(
            for: [(pair.server, .reading)], limit: .seconds(5), interrupt: nil)
        #expect(try pair.server.readAvailable(into: &buffer) == .ended)
    }

    @Test func `what nobody takes is unacknowledged, and little of it waits here`() throws {
        let pair = try Pair()
        let unsentMax: Int32 = 128 * 1024
        pair.client.limitUnsentBytes(to: unsentMax)
        let piece = [UInt8](repeating: 7, count: 16 * 1024)
        var written = 0
        while case .bytes(let count) = try pair.client.writeAvailable(piece.span) {
            written += count
        }
        #expect(written > 0)
        let unacknowledged = try #require(pair.client.bytesUnacknowledged)
        #expect(unacknowledged > 0 && unacknowledged <= written)
    }

    @Test func `an idle connection has all acknowledged and a least round-trip time`() throws {
        let pair = try Pair()
        #expect(pair.client.bytesUnacknowledged == 0)
        let statistics = try #require(pair.client.statistics)
        #expect(try #require(statistics.roundTrip) > .zero)
        #expect(try #require(statistics.minimumRoundTrip) > .zero)
        #expect(statistics.bytesRetransmitted == 0)
    }

    @Test func `nothing wanted is not waited for, and an interrupt ends the wait`() throws {
        let pair = try Pair()
        _ = try pair.server.writeAvailable([1].span)
        let ready = try ConnectionPoll.wait(
            for: [(pair.client, [])], limit: .milliseconds(10), interrupt: nil)
        #expect(ready == [[]])
        let interrupt = try Interrupt()
        interrupt.trigger()
        let error = #expect(throws: TransportError.self) {
            try ConnectionPoll.wait(
                for: [(pair.client, .reading)], limit: .seconds(60), interrupt: interrupt)
        }
        #expect(error?.code == .interrupted)
    }

    @Test func `a reset is told by whichever call meets it`() throws {
        let listener = try Listener(host: "127.0.0.1", port: 0)
        let client = try Connection.open(listener.address, Patience(for: .seconds(5)))
        do {
            let server = try listener.accept(Patience(for: .seconds(5)))
            server.abortOnClose()
        }
        let ready = try ConnectionPoll.wait(
            for: [(client, .reading)], limit: .seconds(5), interrupt: nil)
        #expect(ready == [.reading])
        var buffer = [UInt8](repeating: 0, count: 16)
        let error = #expect(throws: TransportError.self) {
            try client.readAvailable(into: &buffer)
        }
        #expect(error?.code == .reset)
    }

    @Test func `foreign texts are cut and lose what cannot be printed`() {
        #expect(printable("a\u{0}b\u{202E}c", lengthMax: 10) == "a\u{FFFD}b\u{FFFD}c")
        #expect(printable("abcdef", lengthMax: 3) == "abc…")
        #expect(printable("é", lengthMax: 1) == "é")
    }
}
