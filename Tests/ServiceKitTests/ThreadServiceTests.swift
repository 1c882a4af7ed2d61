import ServiceKit
import Testing

@Suite struct ThreadServiceTests {
    private struct Broken: Error {}

    @Test func `the first error stops the other threads and is thrown`() async {
        let service = ThreadService(
            [
                ("waiter", { stop in while !stop.wait(for: .seconds(60)) {} }),
                ("broken", { _ in throw Broken() }),
            ])
        await #expect(throws: Broken.self) { try await service.run() }
    }

    @Test func `a cancelled service tells its threads to stop and waits for them`() async throws {
        let service = ThreadService(
            (0..<3).map { number in
                ("waiter-\(number)", { stop in while !stop.wait(for: .seconds(60)) {} })
            })
        let task = Task { try await service.run() }
        task.cancel()
        try await task.value
    }
}
