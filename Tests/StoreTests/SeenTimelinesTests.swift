import Testing

@testable import Store

struct SeenTimelinesTests {
    private func server(
        _ timeline: Int64, system: Int64 = 7, isInRecovery: Bool = false
    ) -> ServerIdentity {
        ServerIdentity(
            systemIdentifier: system, timeline: timeline, isInRecovery: isInRecovery)
    }

    @Test func `a primary that was left behind is refused, again and again`() throws {
        var seen = SeenTimelines()
        try seen.check(server(1))
        try seen.check(server(3))
        for _ in 1...2 {
            #expect(throws: PrimaryLeftBehind(timeline: 1, highest: 3)) {
                try seen.check(server(1))
            }
        }
        try seen.check(server(3))
        try seen.check(server(4))
    }

    @Test func `what a standby says, and another database, count for nothing`() throws {
        var seen = SeenTimelines()
        try seen.check(server(9, isInRecovery: true))
        try seen.check(server(2))
        try seen.check(server(1, isInRecovery: true))
        try seen.check(server(1, system: 8))
    }
}
