/// How often what happened, in one run or in many.
package struct Coverage: Sendable {
    package var events = 0
    package var messagesStored = 0
    package var messagesRead = 0
    package var commits = 0
    package var duplicates = 0
    package var rowsLoaded = 0
    package var acquisitions = 0
    package var heldByOther = 0
    package var takeovers = 0
    package var releases = 0
    package var fenced = 0
    package var crashes = 0
    package var stops = 0
    package var freezes = 0
    package var freezesBeyondLease = 0
    package var unknownDone = 0
    package var unknownNotDone = 0
    package var silentReconnects = 0
    package var ghosts = 0
    package var doubled = 0
    package var unanswered = 0
    package var powerFailures = 0
    package var messagesLostByBroker = 0
    package var restores = 0
    package var recreations = 0
    package var sequencesReused = 0
    package var purges = 0
    package var trims = 0
    package var discontinuities = 0
    package var moves = 0
    package var generations = 0
    package var countedThrough = 0
    package var lostUnread = 0
    package var failovers = 0
    package var commitsLost = 0
    package var databaseRestarts = 0
    package var clockJumps = 0
    package var messagesBegun = 0
    package var lethalDeaths = 0
    package var lethalSetAside = 0
    package var innocentSetAside = 0
    package var undecodable = 0
    package var wrongPartition = 0
    package var rejected = 0
    package var lateEvents = 0
    package var beyondPromise = 0
    package var healedRuns = 0
    package var convergenceMilliseconds = 0

    package init() {}

    /// Every counter with its name.
    package var all: [(name: String, count: Int)] {
        Mirror(reflecting: self).children.compactMap { child in
            guard let label = child.label, let value = child.value as? Int else { return nil }
            return (label, value)
        }
    }

    package static func += (a: inout Coverage, b: Coverage) {
        for path in paths { a[keyPath: path] += b[keyPath: path] }
    }

    private static var paths: [WritableKeyPath<Coverage, Int>] { [
        \.events, \.messagesStored, \.messagesRead, \.commits, \.duplicates, \.rowsLoaded,
        \.acquisitions, \.heldByOther, \.takeovers, \.releases, \.fenced, \.crashes, \.stops,
        \.freezes, \.freezesBeyondLease, \.unknownDone, \.unknownNotDone, \.silentReconnects,
        \.ghosts, \.doubled, \.unanswered, \.powerFailures, \.messagesLostByBroker, \.restores,
        \.recreations, \.sequencesReused, \.purges, \.trims, \.discontinuities, \.moves,
        \.generations, \.countedThrough, \.lostUnread, \.failovers, \.commitsLost,
        \.databaseRestarts, \.clockJumps, \.messagesBegun, \.lethalDeaths, \.lethalSetAside,
        \.innocentSetAside, \.undecodable, \.wrongPartition, \.rejected, \.lateEvents,
        \.beyondPromise, \.healedRuns, \.convergenceMilliseconds,
    ] }
}
