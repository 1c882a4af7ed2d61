import OwnedThreads
import TestKit
import Testing
import Transport

@Suite struct ResolverTests {
    @Test func `a name of this machine has addresses`() throws {
        let resolver = Resolver()
        defer { resolver.shutDown() }
        let answer = try resolver.addresses(
            of: "localhost", port: 80, Patience(for: .seconds(10)))
        #expect(answer.addresses.contains { $0.host == "127.0.0.1" || $0.host == "::1" })
        #expect(answer.addresses.allSatisfy { $0.port == 80 })
        #expect(answer.started <= answer.finished)
    }

    @Test func `a name that cannot exist is an error of names`() {
        let resolver = Resolver()
        defer { resolver.shutDown() }
        let error = #expect(throws: TransportError.self) {
            try resolver.addresses(of: "nowhere.invalid", port: 80, Patience(for: .seconds(20)))
        }
        #expect([.nameNotFound, .nameLookupFailed].contains(error?.code))
    }

    @Test func `a passed deadline does not wait for the answer`() {
        let resolver = Resolver()
        defer { resolver.shutDown() }
        let error = #expect(throws: TransportError.self) {
            try resolver.addresses(of: "nowhere.invalid", port: 80, Patience(until: .now()))
        }
        #expect(error?.code == .timedOut)
    }

    @Test func `a triggered interrupt ends a lookup`() throws {
        let resolver = Resolver()
        defer { resolver.shutDown() }
        let interrupt = try Interrupt()
        interrupt.trigger()
        let error = #expect(throws: TransportError.self) {
            try resolver.addresses(
                of: "localhost", port: 80, Patience(for: .seconds(10), interrupt: interrupt))
        }
        #expect(error?.code == .interrupted)
    }

    @Test func `after its end a resolver looks nothing up`() {
        let resolver = Resolver()
        resolver.shutDown()
        #expect(throws: TransportError.self) {
            try resolver.addresses(of: "localhost", port: 80, Patience(for: .seconds(1)))
        }
    }

    @Test func `hanging lookups hold their threads and nobody else's deadline`() throws {
        let released = Monitor(false)
        let address = try #require(SocketAddress(literal: "192.0.2.1", port: 1))
        let resolver = Resolver(threadsMax: 2) { host, _ in
            if host == "hangs" { _ = released.wait(until: nil) { $0 ? true : nil } }
            return .success(
                Resolver.Answer(addresses: [address], started: .now(), finished: .now()))
        }
        defer { resolver.shutDown() }
        for _ in 0..<2 {
            let error = #expect(throws: TransportError.self) {
                try resolver.addresses(of: "hangs", port: 1, Patience(for: .milliseconds(50)))
            }
            #expect(error?.code == .timedOut)
        }
        #expect(resolver.openLookups == 2)
        // Without a free thread the next one waits until its own deadline, and is then forgotten.
        let waiting = #expect(throws: TransportError.self) {
            try resolver.addresses(of: "fine", port: 1, Patience(for: .milliseconds(50)))
        }
        #expect(waiting?.code == .timedOut)
        #expect(resolver.openLookups == 2)

        released.update { $0 = true }
        #expect(eventually { resolver.openLookups == 0 })
        let answer = try resolver.addresses(of: "fine", port: 1, Patience(for: .seconds(10)))
        #expect(answer.addresses.count == 1)
    }

    @Test func `an end with hanging lookups does not wait for them`() throws {
        let released = Monitor(false)
        let resolver = Resolver(threadsMax: 1) { _, _ in
            _ = released.wait(until: nil) { $0 ? true : nil }
            return .failure(TransportError(.nameNotFound, "late"))
        }
        #expect(throws: TransportError.self) {
            try resolver.addresses(of: "hangs", port: 1, Patience(for: .milliseconds(20)))
        }
        resolver.shutDown()
        released.update { $0 = true }
    }
}
