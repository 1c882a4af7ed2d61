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
}
