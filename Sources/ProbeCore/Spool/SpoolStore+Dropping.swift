internal import Logging
internal import Telemetry

extension SpoolStore {
    /// Drops the oldest segment of which nothing is being posted; false when there is none.
    mutating func dropOldestSegment() -> Bool {
        guard let segment = segments.firstIndex(where: { $0.takenCount == 0 }) else {
            return false
        }
        drop(segment, because: .full)
        return true
    }

    /// Drops the segments all of whose events are older.
    mutating func dropSegments(olderThan limit: Duration, at reading: ClockReading) {
        while let segment = segments.firstIndex(where: {
            !$0.isEmpty && $0.takenCount == 0 && $0.isOlder(than: limit, at: reading)
        }) {
            drop(segment, because: .age)
        }
    }

    private mutating func drop(_ segment: Int, because reason: DropLedger.Reason) {
        for index in segments[segment].remaining {
            let (session, number) = segments[segment].name(of: index)
            note(number, of: session, because: reason)
        }
        let isNoted = writeLedger()
        if isActive(segment) { active = nil }
        removeFiles(of: segments[segment].id)
        segments.remove(at: segment)
        // On a full disk there may be room for the note now.
        if !isNoted { writeLedger() }
    }

    /// Notes an event that is not in the spool as lost.
    mutating func lose(_ number: UInt64, of session: UniqueID, because reason: DropLedger.Reason) {
        note(number, of: session, because: reason)
        isLedgerWritten = false
    }

    mutating func note(
        _ number: UInt64, of session: UniqueID, because reason: DropLedger.Reason
    ) {
        ledger.add(number, of: session, because: reason)
        untoldLosses.add(number, of: session, because: reason)
        lost[reason, default: 0] &+= 1
    }

    /// Writes the ledger durably; false when that cannot be done now.
    @discardableResult
    mutating func writeLedger() -> Bool {
        isLedgerWritten = false
        guard let folder else { return false }
        do throws(FileProblem) {
            try SmallFile.replace(ledgerPath, with: ledger.text)
        } catch {
            return false
        }
        SpoolFile.synchroniseFolder(folder)
        isLedgerWritten = true
        return true
    }

    mutating func removeEmptySegments() {
        for segment in segments.indices.reversed()
        where segments[segment].isEmpty && !isActive(segment) {
            removeFiles(of: segments[segment].id)
            segments.remove(at: segment)
        }
    }

    mutating func removeFiles(of id: UInt64) {
        do throws(FileProblem) {
            // In this order: a list without its segment says nothing.
            try SpoolFile.remove(eventsPath(id))
            try SpoolFile.remove(removalsPath(id))
        } catch {
            problems.append(
                Problem(
                    level: .warning, message: "a segment cannot be removed",
                    metadata: ["reason": "\(error)"]))
        }
    }
}
