import Bus
import NATSClient
import PrivateServers
import TestKit
import Testing

@Suite struct TimelineWitnessTests {
    @Test func `a primary that a failover left behind is refused, by programs that never saw it`()
        throws
    {
        try withNATSServer { server in
            try withWitness(server.url) { try $0.check(systemIdentifier: 7, timeline: 1) }
            try withWitness(server.url) { witness in
                try witness.check(systemIdentifier: 7, timeline: 3)
                try witness.check(systemIdentifier: 8, timeline: 1)
            }
            try withWitness(server.url) { witness in
                #expect(throws: TimelineWitness.Refusal.self) {
                    try witness.check(systemIdentifier: 7, timeline: 2)
                }
                try witness.check(systemIdentifier: 7, timeline: 3)
                try witness.check(systemIdentifier: 7, timeline: 4)
            }
        }
    }

    @Test func `many sightings keep the highest`() throws {
        try withNATSServer { server in
            try withWitness(server.url) { witness in
                for timeline in 1...40 as ClosedRange<Int64> {
                    try witness.check(systemIdentifier: 7, timeline: timeline)
                }
            }
            try withWitness(server.url) { witness in
                #expect(throws: TimelineWitness.Refusal.self) {
                    try witness.check(systemIdentifier: 7, timeline: 39)
                }
            }
        }
    }

    @Test func `without NATS nothing is known, and what this process saw still holds`() throws {
        try withNATSServer { server in
            let connector = NATSConnector(NATSOptions(urls: [server.url], name: "test"))
            defer { connector.stop() }
            _ = try connector.waitUntilConnected(within: .seconds(10))
            let witness = TimelineWitness(connector)
            try witness.check(systemIdentifier: 7, timeline: 2)
            try server.kill()
            #expect(eventually { !connector.isConnected })
            do {
                try witness.check(systemIdentifier: 7, timeline: 1)
                Issue.record("a lower timeline was accepted")
            } catch {
                #expect("\(error)".contains("left behind"))
            }
            do {
                try witness.check(systemIdentifier: 7, timeline: 2)
                Issue.record("nobody can know whether a newer primary was seen")
            } catch {
                #expect("\(error)".contains("NATS"))
            }
        }
    }
}

private func withWitness(_ url: String, _ body: (TimelineWitness) throws -> Void) throws {
    let connector = NATSConnector(NATSOptions(urls: [url], name: "test"))
    defer { connector.stop() }
    _ = try connector.waitUntilConnected(within: .seconds(10))
    try body(TimelineWitness(connector))
}
