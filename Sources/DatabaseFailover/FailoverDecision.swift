/// What the caller of a failover allows.
package struct FailoverPolicy: Sendable, Equatable {
    /// So much log may be missing at the replica.
    package var lagBytesMax: UInt64 = 64 << 20
    /// A replica that last heard its primary longer ago may miss anything; asked where its log cannot be measured.
    package var silenceSecondsMax: Int64 = 3600
    /// The server that is to be the primary; nil: the one that is not.
    package var target: String?
    /// Exchange the roles of two servers that work.
    package var isSwitchover = false
    /// The primary's machine cannot be reached and is known to be off, or may be left to fence itself.
    package var primaryIsLost = false
    /// Accept what may be lost.
    package var isForced = false

    package init() {}
}

/// What the log of a primary that does not answer holds beyond the replica's.
package struct MissingLog: Sendable, Equatable {
    /// From the end of the replica's log to the last record of the primary's.
    package let bytes: UInt64
    /// Transactions that were committed there.
    package let commitCount: Int
    package let firstCommit: String?
    package let lastCommit: String?

    package init(bytes: UInt64, commitCount: Int, firstCommit: String?, lastCommit: String?) {
        self.bytes = bytes
        self.commitCount = commitCount
        self.firstCommit = firstCommit
        self.lastCommit = lastCommit
    }
}

/// What to do about two servers.
package enum FailoverDecision: Sendable, Equatable {
    case nothingToDo(String)
    case refused(String)
    /// `fences` is false when the old primary's machine cannot be reached.
    case promote(String, insteadOf: String, isClean: Bool, fences: Bool)
}

/// Decides; what it says has the reason and what to do instead.
///
/// - Parameter missing: Of a primary that does not answer and whose log could be read.
package func decideFailover(
    _ first: ServerSight, _ second: ServerSight, missing: MissingLog?, policy: FailoverPolicy
) -> FailoverDecision {
    // What is said does not depend on who is asked first.
    let (first, second) = first.name < second.name ? (first, second) : (second, first)
    let servers = [first, second]
    if let one = first.answer, let other = second.answer,
        one.systemIdentifier != other.systemIdentifier
    {
        return .refused(
            "\(first.name) and \(second.name) hold different databases; one of them is here by mistake"
        )
    }
    let primaries = servers.filter(\.isPrimary)
    if primaries.count == 2 {
        return .refused(
            "both are primaries, of timelines \(first.answer?.timeline ?? 0) and "
                + "\(second.answer?.timeline ?? 0); qoectl db rejoin makes the one of the lower timeline a replica"
        )
    }
    if let primary = primaries.first {
        let other = primary.name == first.name ? second : first
        return decideSwitchover(from: primary, to: other, policy)
    }
    guard let replica = servers.first(where: \.isReplica) else {
        return .refused(
            "neither server answers; start the one that was the primary, or the replica, and ask again"
        )
    }
    let other = replica.name == first.name ? second : first
    return decideFailover(to: replica, from: other, missing, policy)
}

/// The primary works.
private func decideSwitchover(
    from primary: ServerSight, to other: ServerSight, _ policy: FailoverPolicy
) -> FailoverDecision {
    let timeline = primary.answer?.timeline ?? 0
    if policy.target == primary.name {
        return .nothingToDo("\(primary.name) is the primary already (timeline \(timeline))")
    }
    guard policy.isSwitchover else {
        return .nothingToDo(
            "\(primary.name) is the primary (timeline \(timeline)) and works"
                + (other.isReplica
                    ? "; to exchange the roles, add --switchover"
                    : "; \(other.name) is not its replica: qoectl db rejoin"))
    }
    guard other.isReplica, let from = primary.answer, let to = other.answer else {
        return .refused("there is no replica to take over: \(other.summary); qoectl db rejoin")
    }
    let lag = from.endOfLog.distance(from: to.endOfLog)
    if !policy.isForced {
        if from.sendingState != "streaming" {
            return .refused(
                "\(other.name) does not receive the log of \(primary.name) and is \(bytesText(lag)) behind; "
                    + "mend that first (qoectl db rejoin), or lose them with --force")
        }
        if lag > policy.lagBytesMax {
            return .refused(
                "\(other.name) is \(bytesText(lag)) behind, more than --max-lag \(bytesText(policy.lagBytesMax)); "
                    + "wait until it has caught up")
        }
    }
    return .promote(
        other.name, insteadOf: primary.name, isClean: from.sendingState == "streaming",
        fences: true)
}

/// The replica alone answers.
private func decideFailover(
    to replica: ServerSight, from other: ServerSight, _ missing: MissingLog?,
    _ policy: FailoverPolicy
) -> FailoverDecision {
    if policy.target == other.name {
        return .refused("\(other.name) does not answer; \(replica.name) can take over")
    }
    if other.isReplica || other.dataRole == .replica {
        return .refused(
            "\(replica.name) and the other are both replicas of a primary that is gone; promote the one whose "
                + "log goes further by hand: docker exec CONTAINER psql -U postgres -c 'SELECT pg_promote()'"
        )
    }
    var fences = true
    if case .unknown(let reason) = other.container {
        guard policy.primaryIsLost else {
            return .refused(
                "the primary's machine cannot be reached (\(reason)), so nothing can stop it from here; "
                    + "make sure that it is off, or cut off from the programs, and add --primary-is-lost"
            )
        }
        if replica.answer?.isReceiving == true, !policy.isForced {
            return .refused(
                "\(replica.name) receives the log of \(other.name), so that is not lost, or was until seconds ago: ask "
                    + "again in half a minute, or mend the way to its machine (\(reason))")
        }
        fences = false
    }
    let isFencedAlready = other.fencedTimeline.map { $0 > replica.answer?.timeline ?? 0 } ?? false
    if !policy.isForced, !isFencedAlready {
        if other.isStarting {
            return .refused(
                "\(other.name) is starting (\(other.silence ?? "")); wait for it, or add --force")
        }
        if let refusal = refusalForLoss(replica, missing, policy) { return .refused(refusal) }
    }
    return .promote(replica.name, insteadOf: other.name, isClean: false, fences: fences)
}

private func refusalForLoss(
    _ replica: ServerSight, _ missing: MissingLog?, _ policy: FailoverPolicy
) -> String? {
    let accept = "--force accepts that"
    if let missing {
        guard missing.bytes > policy.lagBytesMax else { return nil }
        return
            "\(replica.name) misses \(bytesText(missing.bytes)) of the primary's log, more than --max-lag "
            + "\(bytesText(policy.lagBytesMax)), with \(missing.commitCount) commits; start the primary, or \(accept)"
    }
    guard let contact = replica.contact else {
        return
            "\(replica.name) has never followed the primary, as far as it knows; what it misses cannot be told; "
            + accept
    }
    if contact.lagBytes > policy.lagBytesMax {
        return
            "\(replica.name) was \(bytesText(contact.lagBytes)) behind when it last heard the primary, more than "
            + "--max-lag \(bytesText(policy.lagBytesMax)); \(accept)"
    }
    if contact.ageSeconds > policy.silenceSecondsMax {
        return
            "\(replica.name) last heard the primary \(timeText(contact.ageSeconds)) ago; if the primary ran "
            + "longer than that, its commits are lost; \(accept)"
    }
    return nil
}

/// A number of bytes for people.
package func bytesText(_ bytes: UInt64) -> String {
    let units: [(String, UInt64)] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
    for (unit, size) in units where bytes >= size {
        let tenths = bytes / (size / 10)
        return "\(tenths / 10).\(tenths % 10) \(unit)"
    }
    return "\(bytes) bytes"
}

/// A number of seconds for people.
package func timeText(_ seconds: Int64) -> String {
    if seconds < 120 { return "\(seconds) s" }
    if seconds < 7200 { return "\(seconds / 60) min" }
    return "\(seconds / 3600) h"
}
