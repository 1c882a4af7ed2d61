internal import Deployment
internal import Glibc

/// Makes the replica the primary, or says why not.
///
/// The order keeps two primaries from ever taking writes: the old one is stopped, and marked so that it does not
/// start as a primary again, before the new one is promoted. What fails on the way is safe to run again.
package struct Failover {
    private let pair: DatabasePair
    private let policy: FailoverPolicy
    private let say: (String) -> Void
    private let isStopped: @Sendable () -> Bool

    /// A clean stop writes a checkpoint; a server that is sick gets less and is then killed.
    private static let cleanStopSeconds = 120
    private static let stopSeconds = 15
    private static let arrivalLimit = Duration.seconds(60)
    /// What was received and not replayed yet is replayed first.
    private static let promotionLimit = Duration.seconds(900)
    private static let measureLimit = Duration.seconds(600)

    package init(
        _ pair: DatabasePair, _ policy: FailoverPolicy, isStopped: @escaping @Sendable () -> Bool,
        say: @escaping (String) -> Void
    ) {
        self.pair = pair
        self.policy = policy
        self.isStopped = isStopped
        self.say = say
    }

    /// What is decided now; says what was seen.
    package func decide() throws(FailoverError) -> FailoverDecision {
        let sights = pair.look()
        for sight in sights { say(sight.summary) }
        guard let first = sights.first, let second = sights.last else {
            throw FailoverError("there are no servers")
        }
        let missing = missingLog(sights)
        if let missing { say(missing.summary) }
        return decideFailover(first, second, missing: missing, policy: policy)
    }

    /// Of a primary that does not answer while the replica does.
    private func missingLog(_ sights: [ServerSight]) -> MissingLog? {
        guard let replica = sights.first(where: \.isReplica), let end = replica.answer?.endOfLog,
            let silent = sights.first(where: { $0.answer == nil && $0.dataRole == .primary })
        else { return nil }
        return missingLog(at: silent.name, after: end)
    }

    private func missingLog(at name: String, after end: LogPosition) -> MissingLog? {
        // It only informs; a sick machine may not be able to.
        guard let server = try? pair.server(name),
            let report = try? pair.run(
                server.scripts.missing(after: end), on: server, timeout: Self.measureLimit)
        else { return nil }
        return MissingLog(report: report, after: end)
    }

    /// Does what ``decide()`` returned.
    package func promote(
        _ newName: String, insteadOf oldName: String, isClean: Bool, fences: Bool
    ) throws(FailoverError) {
        let new = try pair.server(newName)
        let old = try pair.server(oldName)
        guard let before = pair.look(at: new).answer, before.isInRecovery else {
            throw FailoverError("\(newName) does not answer as a replica any more; ask again")
        }
        // Before the old one is gone, so that its rewind finds all log since the two parted.
        try pair.run(new.scripts.keepLog, on: new)
        if fences {
            say("stopping \(oldName)")
            let seconds = isClean ? Self.cleanStopSeconds : Self.stopSeconds
            let (next, overflow) = before.timeline.addingReportingOverflow(1)
            guard !overflow else { throw FailoverError("there is no timeline after this one") }
            let report = try pair.run(
                old.scripts.fence(timeline: next, stopSeconds: seconds), on: old,
                timeout: .seconds(Int64(seconds)) + MachineShellTimes.answer)
            if report.contains("unmarked") {
                say(
                    "\(oldName) is stopped, and its disk takes no mark: do not start it while \(newName) is away"
                )
            }
            if isClean { try awaitArrival(from: old, at: new) }
        } else {
            say(
                "\(oldName) is left alone: when its machine comes back, it asks \(newName) before it serves, and stops "
                    + "within seconds if it still runs")
        }
        let lost = fences ? lostLog(old, new) : nil
        say("promoting \(newName)")
        try pair.run(
            new.scripts.promote, on: new, timeout: Self.promotionLimit + MachineShellTimes.answer)
        let after = try awaitPrimary(new, after: before.timeline)
        try pair.run(new.scripts.write, on: new, timeout: .seconds(300))
        say("\(newName) is the primary: timeline \(after.timeline), and it writes")
        sayLoss(lost, fences: fences, isClean: isClean, before)
        say(
            "nothing needs a restart: the programs find it, and the aggregators count again from the stream what its "
                + "rows lack. Next: qoectl db rejoin")
    }

    /// After a clean stop nothing more is written, and a replica that streams has gotten everything.
    private func awaitArrival(
        from old: DatabasePair.Server, at new: DatabasePair.Server
    ) throws(FailoverError) {
        let isThere = try waitUntil(Self.arrivalLimit) { () throws(FailoverError) in
            guard let end = pair.look(at: new).answer?.endOfLog else { return false }
            return missingLog(at: old.name, after: end)?.bytes == 0
        }
        if isThere { return }
        try pair.run(old.scripts.unfence, on: old)
        throw FailoverError(
            "the end of the log did not arrive at \(new.name) within \(Self.arrivalLimit.components.seconds) s, so "
                + "\(old.name) was started again and is the primary as before")
    }

    private func lostLog(_ old: DatabasePair.Server, _ new: DatabasePair.Server) -> MissingLog? {
        guard let end = pair.look(at: new).answer?.endOfLog else { return nil }
        return missingLog(at: old.name, after: end)
    }

    private func awaitPrimary(
        _ server: DatabasePair.Server, after timeline: UInt32
    ) throws(FailoverError) -> ServerSight.Answer {
        var found: ServerSight.Answer?
        _ = try waitUntil(Self.promotionLimit) { () throws(FailoverError) in
            if let answer = pair.look(at: server).answer, !answer.isInRecovery,
                answer.timeline > timeline
            {
                found = answer
            }
            return found != nil
        }
        guard let found else {
            throw FailoverError(
                "\(server.name) is not a primary after \(Self.promotionLimit.components.seconds) s; look into its log "
                    + "(docker logs), then run the same command again")
        }
        return found
    }

    private func sayLoss(
        _ lost: MissingLog?, fences: Bool, isClean: Bool, _ before: ServerSight.Answer
    ) {
        if let lost {
            say("lost: " + lost.lossText)
        } else if fences {
            say("lost: cannot be told, as the log of the old primary cannot be read")
        } else {
            let age =
                before.commitAgeSeconds.map { "; its last commit was \(timeText($0)) ago" } ?? ""
            say(
                "lost: what the old primary committed after \(before.endOfLog) of its log, which cannot be told "
                    + "without its machine\(age)")
        }
    }

    /// Asks every second; false when the time is up.
    private func waitUntil(
        _ limit: Duration, _ condition: () throws(FailoverError) -> Bool
    ) throws(FailoverError) -> Bool {
        let deadline = ContinuousClock.now + limit
        while true {
            if try condition() { return true }
            if ContinuousClock.now >= deadline { return false }
            if isStopped() { throw FailoverError("stopped; run the same command again to go on") }
            sleep(1)
        }
    }
}

extension MissingLog {
    package var summary: String {
        bytes == 0
            ? "the replica has all of the primary's log"
            : "the replica misses \(lossText)"
    }

    var lossText: String {
        guard bytes > 0 else { return "nothing" }
        guard let firstCommit, let lastCommit else {
            return "\(bytesText(bytes)) of log without a commit"
        }
        return
            "\(bytesText(bytes)) of log with \(commitCount) commits, from \(firstCommit) to \(lastCommit)"
    }
}
