/// What to do so that the other server follows the primary.
package enum RejoinDecision: Sendable, Equatable {
    case nothingToDo(String)
    case refused(String)
    /// It is a replica and only stopped.
    case start(String, following: String)
    /// Its data are to be made the primary's: rewound, or copied where that does not do.
    case remake(String, following: String)
}

/// Decides; what it says has the reason and what to do instead.
package func decideRejoin(_ first: ServerSight, _ second: ServerSight) -> RejoinDecision {
    let primaries = [first, second].filter(\.isPrimary)
        .sorted { ($0.answer?.timeline ?? 0) > ($1.answer?.timeline ?? 0) }
    guard let primary = primaries.first, let its = primary.answer else {
        return .refused(
            "no primary answers; qoectl db failover makes one: \(first.summary); \(second.summary)")
    }
    let other = primary.name == first.name ? second : first
    if other.isPrimary, other.answer?.timeline == its.timeline {
        return .refused(
            "both are primaries of timeline \(its.timeline), and nobody can tell which one is right; stop the wrong "
                + "one with docker stop and ask again")
    }
    switch other.container {
    case .unknown(let reason):
        return .refused("the machine of \(other.name) cannot be reached: \(reason)")
    case .absent:
        return .refused(
            "\(other.name) has no container; start it (docker compose -f docker-compose.storage.yml up -d "
                + "\(other.name)): without data it copies the primary by itself")
    case .stopped:
        return other.dataRole == .replica && other.fencedTimeline == nil
            ? .start(other.name, following: primary.name)
            : .remake(other.name, following: primary.name)
    case .running:
        if other.answer?.isInRecovery == true, let state = its.sendingState {
            return .nothingToDo(
                "\(other.name) follows \(primary.name) (timeline \(its.timeline), \(state))")
        }
        if other.isStarting {
            return .refused("\(other.name) is starting; ask again when it answers")
        }
        if other.dataRole == .none {
            return .nothingToDo(
                "\(other.name) has no data yet and copies \(primary.name) by itself; docker logs shows how far it is"
            )
        }
        return .remake(other.name, following: primary.name)
    }
}
