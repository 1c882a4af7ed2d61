import DatabaseFailover
import Testing

private func primary(
    _ name: String, timeline: UInt32 = 1, end: UInt64 = 1000, sending: String? = "streaming"
) -> ServerSight {
    var sight = ServerSight(name: name, container: .running)
    sight.dataRole = .primary
    var answer = ServerSight.Answer(
        isInRecovery: false, timeline: timeline, systemIdentifier: "7",
        endOfLog: LogPosition(bytes: end))
    answer.sendingState = sending
    sight.answer = answer
    return sight
}

private func replica(
    _ name: String, end: UInt64 = 1000, contact: ServerSight.Contact? = nil, system: String = "7"
) -> ServerSight {
    var sight = ServerSight(name: name, container: .running)
    sight.dataRole = .replica
    sight.contact = contact
    sight.answer = ServerSight.Answer(
        isInRecovery: true, timeline: 1, systemIdentifier: system,
        endOfLog: LogPosition(bytes: end))
    return sight
}

private func silent(
    _ name: String, _ container: ServerSight.Container, data: ServerSight.DataRole = .primary,
    silence: String? = nil, fenced: UInt32? = nil
) -> ServerSight {
    var sight = ServerSight(name: name, container: container)
    sight.dataRole = data
    sight.silence = silence
    sight.fencedTimeline = fenced
    return sight
}

private func recent(age: Int64 = 10, lag: UInt64 = 0) -> ServerSight.Contact {
    ServerSight.Contact(
        ageSeconds: age, primaryEnd: LogPosition(bytes: 1000 + lag),
        ownEnd: LogPosition(bytes: 1000))
}

private let one = "postgres-primary"
private let two = "postgres-replica"

struct FailoverDecisionTests {
    private func decide(
        _ first: ServerSight, _ second: ServerSight, missing: MissingLog? = nil,
        _ change: (inout FailoverPolicy) -> Void = { _ in }
    ) -> FailoverDecision {
        var policy = FailoverPolicy()
        change(&policy)
        let decision = decideFailover(first, second, missing: missing, policy: policy)
        // Which of them is named first in the inventory says nothing.
        #expect(decision == decideFailover(second, first, missing: missing, policy: policy))
        return decision
    }

    private func isRefused(_ decision: FailoverDecision, _ word: String) -> Bool {
        guard case .refused(let reason) = decision else { return false }
        return reason.contains(word)
    }

    private func isNothing(_ decision: FailoverDecision) -> Bool {
        if case .nothingToDo = decision { true } else { false }
    }

    @Test func `a primary that works stays`() {
        #expect(isNothing(decide(primary(one), replica(two))))
        #expect(isNothing(decide(primary(one), silent(two, .stopped, data: .replica))))
        #expect(isNothing(decide(primary(two, timeline: 2), silent(one, .unknown("off")))))
    }

    @Test func `force alone does not change a primary that works`() {
        #expect(isNothing(decide(primary(one), replica(two)) { $0.isForced = true }))
    }

    @Test func `a switchover stops the primary cleanly and promotes the replica`() {
        #expect(
            decide(primary(one), replica(two)) { $0.isSwitchover = true }
                == .promote(two, insteadOf: one, isClean: true, fences: true))
        #expect(
            decide(primary(two, timeline: 4), replica(one)) { $0.isSwitchover = true }
                == .promote(one, insteadOf: two, isClean: true, fences: true))
    }

    @Test func `a switchover to the server that is the primary already does nothing`() {
        let decision = decide(primary(two), replica(one)) {
            $0.isSwitchover = true
            $0.target = two
        }
        #expect(isNothing(decision))
    }

    @Test func `a switchover needs a replica that streams and is near`() {
        let lagging = replica(two, end: 0)
        #expect(
            isRefused(
                decide(primary(one, end: 65 << 20), lagging) { $0.isSwitchover = true }, "--max-lag"
            ))
        #expect(
            isRefused(
                decide(primary(one, sending: nil), replica(two)) { $0.isSwitchover = true },
                "does not receive"))
        #expect(
            isRefused(
                decide(primary(one), silent(two, .stopped, data: .replica)) {
                    $0.isSwitchover = true
                }, "no replica"))
        // What does not stream gets nothing from a clean stop.
        #expect(
            decide(primary(one, sending: nil), replica(two)) {
                $0.isSwitchover = true
                $0.isForced = true
            } == .promote(two, insteadOf: one, isClean: false, fences: true))
    }

    @Test func `a primary that is down or does not answer is replaced and fenced`() {
        for sight in [
            silent(one, .stopped), silent(one, .running, silence: "no answer within 10 s"),
            silent(one, .absent, data: .none),
        ] {
            #expect(
                decide(sight, replica(two, contact: recent()))
                    == .promote(two, insteadOf: one, isClean: false, fences: true))
        }
    }

    @Test func `a machine that cannot be reached needs the word that it is lost`() {
        let lost = silent(one, .unknown("no route"), data: .none)
        let other = replica(two, contact: recent())
        #expect(isRefused(decide(lost, other), "--primary-is-lost"))
        #expect(isRefused(decide(lost, other) { $0.isForced = true }, "--primary-is-lost"))
        #expect(
            decide(lost, other) { $0.primaryIsLost = true }
                == .promote(two, insteadOf: one, isClean: false, fences: false))
    }

    @Test func `a primary whose log still comes is not lost`() {
        var receiving = replica(two, contact: recent())
        receiving.answer?.isReceiving = true
        let away = silent(one, .unknown("no route"), data: .none)
        #expect(isRefused(decide(away, receiving) { $0.primaryIsLost = true }, "not lost"))
    }

    @Test func `a machine that can be reached is fenced even when it is called lost`() {
        #expect(
            decide(silent(one, .stopped), replica(two, contact: recent())) {
                $0.primaryIsLost = true
            } == .promote(two, insteadOf: one, isClean: false, fences: true))
    }

    @Test func `what the replica misses is measured before it is guessed`() {
        let missing = MissingLog(
            bytes: 65 << 20, commitCount: 9, firstCommit: nil, lastCommit: nil)
        let stale = replica(two, contact: recent(age: 90_000, lag: 1 << 30))
        #expect(isRefused(decide(silent(one, .stopped), stale, missing: missing), "9 commits"))
        let none = MissingLog(bytes: 0, commitCount: 0, firstCommit: nil, lastCommit: nil)
        #expect(
            decide(silent(one, .stopped), stale, missing: none)
                == .promote(two, insteadOf: one, isClean: false, fences: true))
    }

    @Test
    func `a replica that was behind or away when the primary was lost is refused without force`() {
        let lost = silent(one, .unknown("no route"), data: .none)
        for (contact, word) in [
            (recent(lag: 65 << 20), "--max-lag"), (recent(age: 3601), "last heard"),
            (nil, "never followed"),
        ] {
            let other = replica(two, contact: contact)
            #expect(isRefused(decide(lost, other) { $0.primaryIsLost = true }, word))
            let forced = decide(lost, other) {
                $0.primaryIsLost = true
                $0.isForced = true
            }
            #expect(forced == .promote(two, insteadOf: one, isClean: false, fences: false))
        }
    }

    @Test func `a primary that is starting is waited for`() {
        let starting = silent(
            one, .running, silence: "FATAL: the database system is starting up")
        #expect(isRefused(decide(starting, replica(two, contact: recent())), "wait"))
    }

    @Test func `a failover that was cut off after the fence goes on`() {
        let fenced = silent(one, .stopped, fenced: 2)
        #expect(
            decide(fenced, replica(two))
                == .promote(two, insteadOf: one, isClean: false, fences: true))
    }

    @Test func `nothing is promoted when nobody can tell which data are right`() {
        #expect(isRefused(decide(primary(one), primary(two, timeline: 2)), "both are primaries"))
        #expect(isRefused(decide(replica(one), replica(two)), "both replicas"))
        #expect(
            isRefused(
                decide(silent(one, .stopped, data: .replica), replica(two)), "both replicas"))
        #expect(isRefused(decide(silent(one, .stopped), silent(two, .stopped)), "neither"))
        #expect(isRefused(decide(primary(one), replica(two, system: "8")), "different databases"))
    }
}

struct RejoinDecisionTests {
    private func isRefused(_ decision: RejoinDecision, _ word: String) -> Bool {
        guard case .refused(let reason) = decision else { return false }
        return reason.contains(word)
    }

    @Test func `an old primary is remade, wherever it stands`() {
        let newer = primary(two, timeline: 2, sending: nil)
        for sight in [
            silent(one, .stopped, fenced: 2), silent(one, .running, silence: "waits", fenced: 2),
            primary(one, timeline: 1, sending: nil),
        ] {
            #expect(decideRejoin(sight, newer) == .remake(one, following: two))
            #expect(decideRejoin(newer, sight) == .remake(one, following: two))
        }
    }

    @Test func `a replica that follows is left alone`() {
        guard case .nothingToDo = decideRejoin(primary(one), replica(two)) else {
            Issue.record("it was not left alone")
            return
        }
    }

    @Test func `a stopped replica is only started`() {
        #expect(
            decideRejoin(primary(one), silent(two, .stopped, data: .replica))
                == .start(two, following: one))
    }

    @Test func `a replica that answers and has lost its place is copied anew`() {
        #expect(
            decideRejoin(primary(one, sending: nil), replica(two)) == .remake(two, following: one))
    }

    @Test func `without a primary, or with two of one timeline, nothing is remade`() {
        #expect(isRefused(decideRejoin(replica(one), silent(two, .stopped)), "failover"))
        #expect(isRefused(decideRejoin(primary(one), primary(two)), "nobody can tell"))
        #expect(isRefused(decideRejoin(primary(one), silent(two, .unknown("off"))), "off"))
        #expect(isRefused(decideRejoin(primary(one), silent(two, .absent)), "no container"))
    }
}

struct ReportTests {
    @Test func `a report of a primary is read`() {
        let sight = ServerSight(
            name: one,
            report: """
                container=running
                now=1795292017
                data=primary
                recovery=false
                system=7654321
                timeline=3
                end=16/B374D848
                sending=streaming
                sending_lag=5
                """)
        #expect(sight.answer?.isInRecovery == false)
        #expect(sight.answer?.timeline == 3)
        #expect(sight.answer?.endOfLog == LogPosition("16/B374D848"))
        #expect(sight.summary.contains("primary, timeline 3, log up to 16/B374D848"))
        #expect(sight.summary.contains("streaming to the other 5 ms behind"))
    }

    @Test func `a report of a server that does not answer has its data and its last contact`() {
        let sight = ServerSight(
            name: two,
            report: """
                container=running
                now=1795292017
                data=replica
                fenced=4
                streamed=1795292007 0/3000100 0/3000000
                silence=psql: error: connection to server on socket "x" failed: FATAL:  starting up
                """)
        #expect(sight.answer == nil)
        #expect(sight.silence == "FATAL: starting up")
        #expect(sight.fencedTimeline == 4)
        #expect(sight.contact?.ageSeconds == 10)
        #expect(sight.contact?.primaryEnd.distance(from: LogPosition(bytes: 0x3000000)) == 256)
    }

    @Test(arguments: [
        "", "container", "now=x\nstreamed=1 2", "container=running\nend=1/1/1\nrecovery=false",
        "container=running\nrecovery=false\nsystem=1\ntimeline=99999999999\nend=0/1",
        "container=running\nnow=-9223372036854775808\nstreamed=9223372036854775807 0/1 0/1",
    ]) func `a report that is no good is no answer`(_ report: String) {
        let sight = ServerSight(name: one, report: report)
        #expect(sight.answer == nil)
        #expect(sight.contact == nil)
    }

    @Test(arguments: ["", "/", "0", "0/0/0", "100000000/0", "0/100000000", "x/1", "-1/0"])
    func `what is no position is none`(_ text: String) {
        #expect(LogPosition(text) == nil)
    }

    @Test func `positions are written as PostgreSQL writes them`() {
        #expect(LogPosition("FFFFFFFF/FFFFFFFF").map(\.description) == "FFFFFFFF/FFFFFFFF")
        #expect(LogPosition("0/3044228").map(\.description) == "0/3044228")
    }
}
