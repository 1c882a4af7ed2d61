package import Store
internal import Windowing

/// Whether a log goes on where a partition's rows end, and where it does when it does not.
///
/// Acknowledged messages can vanish: a power cut before the broker's disk was synced, a stream restored from a copy
/// or made anew. Its sequences are then given out again, and who trusts them skips new messages as if they had
/// been counted. So the rows remember messages they have seen (``LogAnchor``), and those are compared.
package enum LogCheck: Sendable {
    /// The log goes on at `committed_seq`.
    case intact
    /// It goes on elsewhere, or not without a hole.
    case moved(Reposition)

    /// Compares what is known of the log with what it holds: `extent`, and some of its messages, which are read.
    package static func check(
        _ standing: PartitionStanding, _ extent: LogExtent, _ log: some EventLog
    ) throws(EventLogError) -> LogCheck {
        let found = try compare(standing, extent, log)
        guard case .moved = found else { return found }
        let now = try log.extent()
        guard now.createdNanoseconds == extent.createdNanoseconds,
            now.firstSequence == extent.firstSequence, now.lastSequence >= extent.lastSequence
        else {
            // A message that is removed just now looks as if it had never been there.
            throw EventLogError("the log changed while it was compared")
        }
        return found
    }

    private static func compare(
        _ standing: PartitionStanding, _ extent: LogExtent, _ log: some EventLog
    ) throws(EventLogError) -> LogCheck {
        let committed = standing.progress.committedSequence
        guard committed > 0 else { return checkHole(standing, extent) }
        let isSameLog = standing.streamCreatedNanoseconds.map { $0 == extent.createdNanoseconds }
        // Progress that was moved over removed messages has no anchor where it stands. When some of them are there
        // again, the log has gone back, and gives out sequences anew that look counted.
        let newest = standing.anchors.first?.sequence
        let wasMovedOver =
            newest.map { $0 < committed } ?? (standing.streamCreatedNanoseconds != nil)
        let isBack = wasMovedOver && extent.firstSequence <= committed
        // Nothing to compare with: rows of before anchors were kept.
        if standing.anchors.isEmpty, !isBack, committed <= extent.lastSequence, isSameLog != false {
            return checkHole(standing, extent)
        }
        for (index, known) in standing.anchors.enumerated() {
            if known.sequence < extent.firstSequence {
                // Removed, so that nothing can be compared: the same log is believed.
                if index == 0, isSameLog == true, !isBack { return checkHole(standing, extent) }
                break
            }
            guard known.sequence <= extent.lastSequence,
                try log.anchor(at: known.sequence) == known
            else { continue }
            if index == 0, !isBack { return checkHole(standing, extent) }
            return try divergence(standing, extent, log, after: known.sequence)
        }
        return try divergence(standing, extent, log, after: nil)
    }

    /// Whether messages that were not read yet have been removed.
    private static func checkHole(_ standing: PartitionStanding, _ extent: LogExtent) -> LogCheck {
        // What was trimmed from another log says nothing about this one.
        let isSameLog = standing.streamCreatedNanoseconds == extent.createdNanoseconds
        let trimmedBelow = isSameLog ? standing.trimmedBelow : 0
        let needed = max(standing.progress.committedSequence &+ 1, trimmedBelow)
        guard extent.firstSequence > needed else { return .intact }
        let last = extent.firstSequence &- 1
        return .moved(
            Reposition(
                expectedSequence: standing.progress.committedSequence,
                committedSequence: last, replayFromSequence: extent.firstSequence,
                countedThroughSequence: standing.progress.countedThroughSequence,
                startsGeneration: false, streamCreatedNanoseconds: extent.createdNanoseconds,
                anchors: standing.anchors,
                lost: [LostRange(sequences: needed...last, reason: LostRange.removedUnread)]))
    }

    /// Where to go on in a log that is another one after the sequence `common`, or altogether.
    private static func divergence(
        _ standing: PartitionStanding, _ extent: LogExtent, _ log: some EventLog,
        after common: UInt64?
    ) throws(EventLogError) -> LogCheck {
        let progress = standing.progress
        let base = max(common ?? 0, extent.firstSequence &- 1)
        // A log that is cut a second time was perhaps not read again to where it had been counted.
        let countedBefore = max(progress.committedSequence, progress.countedThroughSequence)
        let end = min(countedBefore, extent.lastSequence)
        let counted = try lastCounted(in: base..<max(base, end), progress, log)
        let anchors = standing.anchors.filter { $0.sequence <= base && common != nil }
        // What came after `counted` in the old log was counted, and is not in this one.
        var lost: [LostRange] = []
        if counted < countedBefore {
            lost.append(
                LostRange(
                    sequences: counted &+ 1...countedBefore,
                    reason: LostRange.goneAfterCounting))
        }
        if common == nil {
            // Nothing that is left tells what the removed ones were: what was trimmed may have been stored anew.
            let isSameLog = standing.streamCreatedNanoseconds == extent.createdNanoseconds
            if base > 0 {
                lost.append(
                    LostRange(
                        sequences: 1...base,
                        reason: isSameLog ? LostRange.removedUnproven : LostRange.removedUnread))
            }
        }
        return .moved(
            Reposition(
                expectedSequence: progress.committedSequence, committedSequence: base,
                replayFromSequence: replayStart(base, progress, anchors, extent),
                countedThroughSequence: counted, startsGeneration: true,
                streamCreatedNanoseconds: extent.createdNanoseconds, anchors: anchors, lost: lost))
    }

    /// The last message after `range.lowerBound` that is the one that was counted under its sequence.
    ///
    /// No anchor says so, but the broker's clock does: what it stored before it stored the last message that was
    /// counted is old, and what it stored after the log was cut is new.
    private static func lastCounted(
        in range: Range<UInt64>, _ progress: PartitionProgress, _ log: some EventLog
    ) throws(EventLogError) -> UInt64 {
        guard let newest = progress.committedBrokerMilliseconds else { return range.lowerBound }
        var low = range.lowerBound
        var high = range.upperBound
        while low < high {
            let middle = high &- (high &- low) / 2
            let found = try log.anchor(at: middle)
            if let found, found.brokerMilliseconds <= newest {
                low = middle
            } else {
                high = middle &- 1
            }
        }
        return low
    }

    /// Where identifiers of the last minutes before `base` begin.
    private static func replayStart(
        _ base: UInt64, _ progress: PartitionProgress, _ anchors: [LogAnchor], _ extent: LogExtent
    ) -> UInt64 {
        let earliest = max(1, extent.firstSequence)
        if progress.replayFromSequence <= base &+ 1 {
            return max(earliest, progress.replayFromSequence)
        }
        guard let at = anchors.first?.brokerMilliseconds else { return earliest }
        let horizon = at &- RecentIDs.horizonMilliseconds
        let older = anchors.first { $0.brokerMilliseconds < horizon }
        return max(earliest, min(base &+ 1, older?.sequence ?? earliest))
    }
}

extension LostRange {
    /// Messages were removed before they were read: what they held is not in the tables.
    package static let removedUnread = "removed_unread"
    /// Messages were removed from a stream that was cut, by somebody else than the aggregators, and nothing tells
    /// whether they were those that had been counted.
    package static let removedUnproven = "removed_unproven"
    /// Messages that were counted are not in the stream any more, and others have their sequences: nothing is
    /// missing in the tables, but what followed them and had not been read is gone.
    package static let goneAfterCounting = "gone_after_counting"
}

extension PartitionStanding {
    /// Takes over what `move` has written.
    package mutating func apply(_ move: Reposition) {
        progress.committedSequence = move.committedSequence
        progress.replayFromSequence = move.replayFromSequence
        progress.countedThroughSequence = move.countedThroughSequence
        streamCreatedNanoseconds = move.streamCreatedNanoseconds
        anchors = move.anchors
        lostRangeCount += move.lost.count
        if move.startsGeneration {
            crashCount = 0
            begunSequence = nil
            crashingSequences = crashingSequences.filter { $0 <= move.committedSequence }
        }
    }
}
