import ProbeCore
import Testing
import Transport

@Suite struct AllowanceTests {
    private func moment(_ seconds: UInt64) -> MonotonicInstant {
        MonotonicInstant(nanoseconds: seconds * 1_000_000_000)
    }

    @Test func `it is full at the start and comes back evenly, up to its amount`() {
        var allowance = Allowance(600, per: .seconds(60), now: moment(0))
        #expect(allowance.left(at: moment(1000)) == 600)
        allowance.spend(500)
        #expect(allowance.left(at: moment(1000)) == 100)
        #expect(allowance.left(at: moment(1020)) == 300)
        #expect(allowance.left(at: moment(2000)) == 600)
    }

    @Test func `a debt is paid back first`() {
        var allowance = Allowance(60, per: .seconds(60), now: moment(0))
        allowance.spend(90)
        #expect(allowance.left(at: moment(0)) == -30)
        #expect(allowance.left(at: moment(30)) == 0)
        #expect(allowance.left(at: moment(40)) == 10)
    }

    @Test func `a change of the amount keeps the used share`() {
        var allowance = Allowance(100, per: .seconds(60), now: moment(0))
        allowance.spend(75)
        var changed = allowance.changed(to: 1000, per: .seconds(60))
        #expect(changed.left(at: moment(0)) == 250)
    }

    @Test func `a later one goes on where an earlier one ended`() {
        var allowance = Allowance(60, per: .seconds(60), now: moment(0))
        allowance.resume(left: -30, after: .seconds(40))
        #expect(allowance.left(at: moment(0)) == 10)
        allowance.resume(left: 50, after: .seconds(86_400))
        #expect(allowance.left(at: moment(0)) == 60)
        allowance.resume(left: 50, after: .seconds(-5))
        #expect(allowance.left(at: moment(0)) == 50)
    }

    @Test func `a clock that stands still gives nothing`() {
        var allowance = Allowance(60, per: .seconds(60), now: moment(100))
        allowance.spend(60)
        #expect(allowance.left(at: moment(50)) == 0)
        #expect(allowance.left(at: moment(100)) == 0)
    }
}
