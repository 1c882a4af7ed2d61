internal import Glibc
internal import Synchronization

/// A place in the programs where a test can kill the process, to prove that nothing is lost there.
///
/// Debug builds only: in a release ``failpoint(_:)`` is nothing. A debug build reads `QOE_FAILPOINT` once:
/// `aggregator.flush_committed` kills at the first pass, `aggregator.flush_committed#3` at the third.
package enum Failpoint: String, CaseIterable, Sendable {
    case ingestHeadersRead = "ingest.headers_read"
    case ingestBodyRead = "ingest.body_read"
    case ingestParsed = "ingest.parsed"
    case ingestEnqueued = "ingest.enqueued"
    case ingestBeforePublish = "ingest.before_publish"
    case ingestPublished = "ingest.published"
    case ingestAcknowledged = "ingest.acknowledged"
    /// Some blocks of a request are acknowledged, others not.
    case ingestPartlyAcknowledged = "ingest.partly_acknowledged"
    case ingestAnswerWritten = "ingest.answer_written"
    case ingestDraining = "ingest.draining"

    case aggregatorBeforeAcquire = "aggregator.before_acquire"
    case aggregatorAcquired = "aggregator.acquired"
    case aggregatorLogChecked = "aggregator.log_checked"
    case aggregatorBeforeReposition = "aggregator.before_reposition"
    case aggregatorRepositioned = "aggregator.repositioned"
    case aggregatorLogOpened = "aggregator.log_opened"
    /// Within the messages whose effects are in the tables already.
    case aggregatorReplaying = "aggregator.replaying"
    /// At the first message after them.
    case aggregatorReplayed = "aggregator.replayed"
    case aggregatorRowsLoaded = "aggregator.rows_loaded"
    case aggregatorApplied = "aggregator.applied"
    case aggregatorSetAside = "aggregator.set_aside"
    case aggregatorFlushMade = "aggregator.flush_made"
    case aggregatorFlushCommitted = "aggregator.flush_committed"
    case aggregatorFlushConfirmed = "aggregator.flush_confirmed"
    case aggregatorRenewed = "aggregator.renewed"
    case aggregatorBeforeRelease = "aggregator.before_release"
    case aggregatorReleased = "aggregator.released"
    case aggregatorFenced = "aggregator.fenced"
    case aggregatorDropped = "aggregator.dropped"
    case aggregatorTrimRecorded = "aggregator.trim_recorded"
    case aggregatorTrimmed = "aggregator.trimmed"
    case aggregatorDeadLetterPublished = "aggregator.dead_letter_published"
    case aggregatorStopping = "aggregator.stopping"

    /// The transaction's first statement, which in a flush is the fence, is on its way.
    case transactionBegun = "transaction.begun"
    /// Everything but COMMIT is on its way.
    case transactionBeforeCommit = "transaction.before_commit"
    case transactionCommitSent = "transaction.commit_sent"
    case transactionConnected = "transaction.connected"
}

/// Kills the process, if this pass of `point` is the one that the environment asks for.
@inline(__always)
package func failpoint(_ point: Failpoint) {
    #if FAILPOINTS
        ArmedFailpoint.fromEnvironment?.pass(point)
    #endif
}

/// As ``failpoint(_:)``, with something to be done before, only by a process that is killed here.
@inline(__always)
package func failpoint(_ point: Failpoint, after prepare: () -> Void) {
    #if FAILPOINTS
        ArmedFailpoint.fromEnvironment?.pass(point, after: prepare)
    #endif
}

/// As ``failpoint(_:)``, for one message of the log: `aggregator.applied@17` kills at sequence 17, each time.
@inline(__always)
package func failpoint(_ point: Failpoint, sequence: UInt64) {
    #if FAILPOINTS
        ArmedFailpoint.fromEnvironment?.pass(point, sequence: sequence)
    #endif
}

#if FAILPOINTS
    private final class ArmedFailpoint: Sendable {
        static let fromEnvironment: ArmedFailpoint? = ArmedFailpoint()

        private let point: Failpoint
        private let sequence: UInt64?
        private let passesLeft: Atomic<Int>

        /// Nil when nothing is armed.
        private init?() {
            guard let pointer = unsafe getenv("QOE_FAILPOINT") else { return nil }
            let text = unsafe String(cString: pointer)
            guard !text.isEmpty else { return nil }
            let parts = text.split(whereSeparator: { $0 == "#" || $0 == "@" }).map(String.init)
            let number = parts.count == 2 ? UInt64(parts[1]) : nil
            guard let name = parts.first, let point = Failpoint(rawValue: name),
                parts.count == 1 || number != nil
            else { preconditionFailure("QOE_FAILPOINT names no failpoint: \(text)") }
            self.point = point
            sequence = text.contains("@") ? number : nil
            passesLeft = Atomic(text.contains("#") ? Int(clamping: number ?? 1) : 1)
        }

        func pass(_ point: Failpoint, after prepare: () -> Void = {}) {
            guard point == self.point, sequence == nil,
                passesLeft.subtract(1, ordering: .relaxed).newValue == 0
            else { return }
            prepare()
            die()
        }

        func pass(_ point: Failpoint, sequence: UInt64) {
            guard point == self.point, sequence == self.sequence else {
                return pass(point)
            }
            die()
        }

        private func die() {
            kill(getpid(), SIGKILL)
        }
    }
#endif
