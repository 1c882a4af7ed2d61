import Testing

@testable import LinkEmulation

@Suite struct WakePlanTests {
    private let start = ContinuousClock.now

    @Test func `it sleeps until shortly before the moment and is awake from then on`() {
        var plan = WakePlan()
        let moment = start + .milliseconds(5)
        #expect(plan.sleep(until: moment, at: start) == .milliseconds(5) - WakePlan.lead)
        #expect(plan.sleep(until: moment, at: moment - WakePlan.lead) == .zero)
        #expect(plan.sleep(until: moment, at: moment - .microseconds(1)) == .zero)
        #expect(plan.sleep(until: moment, at: moment + .microseconds(1)) == .zero)
    }

    @Test func `among packets that are close together it is awake for a fifth of the time at most`()
    {
        var plan = WakePlan()
        var now = start
        var awake = Duration.zero
        // One is due every 100 µs for a second; a look costs 5 µs.
        let look = Duration.microseconds(5)
        while now < start + .seconds(1) {
            let index = start.duration(to: now) / .microseconds(100)
            let next = start + .microseconds(100) * (index.rounded(.down) + 1)
            let sleep = plan.sleep(until: next, at: now)
            if sleep == .zero { awake += look }
            now += max(sleep, look)
        }
        #expect(awake < .milliseconds(210))
        #expect(awake > .milliseconds(10))
    }
}
