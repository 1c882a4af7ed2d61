internal import TestKit

/// How often what goes wrong in one run.
struct FaultMix {
    /// What a run may concentrate on.
    enum Emphasis: Int, CaseIterable {
        case everything, crashes, freezes, connections, cuts, removals, failovers, poison, traffic
        case calm
    }

    let emphasis: Emphasis
    /// Per mille of the calls into the log and the tables.
    var crash: UInt64 = 4
    var freeze: UInt64 = 3
    var connectionLost: UInt64 = 8
    var readError: UInt64 = 8

    /// Per mille of the scheduler's steps.
    var crashBetween: UInt64 = 8
    var powerFailure: UInt64 = 4
    var restore: UInt64 = 3
    var recreation: UInt64 = 1
    var purge: UInt64 = 3
    var trim: UInt64 = 15
    var failover: UInt64 = 6
    var databaseRestart: UInt64 = 6
    var clockJump: UInt64 = 5
    var readerLost: UInt64 = 10
    var idle: UInt64 = 6

    /// Percent of the publishes.
    var ghost = 6
    var doubled = 4
    var unanswered = 6
    var refused = 4
    /// Per mille of the publishes.
    var undecodable: UInt64 = 10
    var wrongPartition: UInt64 = 8
    var lethal: UInt64 = 4

    /// Percent of the events.
    var late = 8
    var nonsense = 1
    var sentAgain = 10

    init(_ random: inout SeededGenerator) {
        let all = Emphasis.allCases
        emphasis = random.chance(40) ? .everything : all[Int(random.next() % UInt64(all.count))]
        switch emphasis {
        case .everything: break
        case .crashes: (crash, crashBetween) = (30, 50)
        case .freezes: (freeze, connectionLost) = (30, 4)
        case .connections: (connectionLost, readError, readerLost) = (60, 30, 50)
        case .cuts: (powerFailure, restore, recreation, readerLost) = (30, 15, 3, 20)
        case .removals: (purge, trim, idle, readerLost) = (15, 60, 15, 30)
        case .failovers: (failover, databaseRestart, freeze) = (40, 20, 6)
        case .poison: (lethal, undecodable, wrongPartition, crash) = (30, 60, 40, 2)
        case .traffic: (ghost, doubled, unanswered, refused, late, sentAgain) = (20, 15, 20, 10, 25, 30)
        case .calm:
            (crash, freeze, connectionLost, readError) = (0, 0, 0, 0)
            (powerFailure, restore, recreation, purge, failover) = (0, 0, 0, 0, 0)
            crashBetween = 10
        }
    }
}

/// A fault that the suite must find, built into the doubles around the real core.
package enum Mutation: String, CaseIterable, Sendable {
    /// The tables take every write.
    case noFence
    /// The rows of sessions are not given back.
    case sessionsNotLoaded
    /// Progress is committed before the rows, in a transaction of its own.
    case progressBeforeRows
    /// A commit whose outcome is unknown is taken for done, and the next one does not compare progress.
    case unknownTakenForDone
    /// A commit whose outcome is unknown is sent again later, whoever owns the partition then.
    case unknownSentAgain
    /// The rows remember no message to recognise the log by.
    case noAnchors
    /// Identifiers of what is counted already are not read again.
    case noReplay
    /// Windows with rows are believed to be new.
    case noNewestWindow
    /// What was counted before the log was cut is counted again.
    case noCountedThrough
    /// A reader whose log was cut and grew again goes on as if nothing had happened.
    case readerNotCompared
}
