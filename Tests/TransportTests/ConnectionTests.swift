import OwnedThreads
import TestKit
import Testing
import Transport

@Suite struct ConnectionTests {
    @Test func `bytes arrive as they were written, and the end is seen`() throws {
        let listener = try Listener(host: "127.0.0.1", port: 0)
        let client = try Connection.open(listener.address, Patience(for: .seconds(5)))
        let server = try listener.accept(Patience(for: .seconds(5)))
        try client.write([1, 2, 3].span, Patience(for: .seconds(5)))
        client.finishWriting()
        var buffer = [UInt8](repeating: 0, count: 16)
        #expect(try server.read(into: &buffer, Patience(for: .seconds(5))) == 3)
        #expect(buffer.prefix(3) == [1, 2, 3])
        #expect(try server.read(into: &buffer, Patience(for: .seconds(5))) == 0)
        #expect(client.roundTripTime != nil)
        #expect(client.localAddress?.host == "127.0.0.1")
    }

    @Test func `a closed port is refused`() throws {
        let port: UInt16
        do { port = try Listener(host: "127.0.0.1", port: 0).address.port }
        let address = try #require(SocketAddress(literal: "127.0.0.1", port: port))
        let error = #expect(throws: TransportError.self) {
            try Connection.open(address, Patience(for: .seconds(5)))
        }
        #expect(error?.code == .refused)
    }

    @Test func `a silent peer is waited for until the deadline`() throws {
        let listener = try Listener(host: "::1", port: 0)
        let client = try Connection.open(listener.address, Patience(for: .seconds(5)))
        var buffer = [UInt8](repeating: 0, count: 16)
        let error = #expect(throws: TransportError.self) {
            try client.read(into: &buffer, Patience(for: .milliseconds(20)))
        }
        #expect(error?.code == .timedOut)
    }

    @Test func `a peer that always sends is read until the deadline and no longer`() throws {
        let listener = try Listener(host: "127.0.0.1", port: 0)
        let client = try Connection.open(listener.address, Patience(for: .seconds(5)))
        let server = try listener.accept(Patience(for: .seconds(5)))
        try server.write([1, 2, 3].span, Patience(for: .seconds(5)))
        var buffer = [UInt8](repeating: 0, count: 1)
        #expect(try client.read(into: &buffer, Patience(for: .seconds(5))) == 1)
        let error = #expect(throws: TransportError.self) {
            try client.read(into: &buffer, Patience(until: .now()))
        }
        #expect(error?.code == .timedOut)
    }

    @Test func `an interrupt from another thread ends a read`() throws {
        let listener = try Listener(host: "127.0.0.1", port: 0)
        let client = try Connection.open(listener.address, Patience(for: .seconds(5)))
        let interrupt = try Interrupt()
        let trigger = OwnedThread(name: "trigger") { interrupt.trigger() }
        defer { trigger.join() }
        var buffer = [UInt8](repeating: 0, count: 16)
        let error = #expect(throws: TransportError.self) {
            try client.read(
                into: &buffer, Patience(for: .seconds(60), interrupt: interrupt))
        }
        #expect(error?.code == .interrupted)
    }

    @Test(arguments: ["192.0.2.1", "2001:db8::1"])
    func `a literal address keeps its text and port`(text: String) throws {
        let address = try #require(SocketAddress(literal: text, port: 443))
        #expect(address.host == text)
        #expect(address.port == 443)
    }

    @Test(arguments: ["", "example.com", "300.1.1.1", ":::"])
    func `other texts are no addresses`(text: String) {
        #expect(SocketAddress(literal: text, port: 1) == nil)
    }

    @Test func `durations beyond the clock's range are held at its ends`() {
        let instant = MonotonicInstant(nanoseconds: 10)
        #expect(instant.advanced(by: .seconds(-5)).nanoseconds == 0)
        #expect(MonotonicInstant(nanoseconds: .max).advanced(by: .seconds(1)).nanoseconds == .max)
        #expect(instant.since(MonotonicInstant(nanoseconds: 20)) == .zero)
        #expect(Duration.seconds(Int64.max).wholeNanoseconds == .max)
    }
}
