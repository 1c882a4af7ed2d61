internal import Glibc
internal import Logging
internal import Telemetry

extension SpoolStore {
    /// A segment of another size than ours is read up to this many bytes.
    private static let segmentReadMax = 64 << 20
    private static let ledgerBytesMax = 1 << 20

    /// What reading the segments in their order has to remember.
    private struct Recovery {
        /// What is in the ledger already, and goes although its bytes are still there.
        let dropped: [UniqueID: [ClosedRange<UInt64>]]
        /// What may be at a server already, and must not be dropped.
        let posting: PostingNote
        /// The last sound record of the segment before, or of this one.
        var last: (segment: UInt64, session: UniqueID, number: UInt64)?
        /// Damaged bytes since then.
        var damagedBytes = 0
    }

    /// Reads what an earlier probe left in the folder.
    ///
    /// - Throws: When the folder or a segment cannot be read.
    mutating func recover() throws(FileProblem) {
        guard let folder else { return }
        let names = try SpoolFile.names(in: folder)
        if let text = try? SmallFile.read(ledgerPath, bytesMax: Self.ledgerBytesMax) {
            ledger = DropLedger(text: text)
        }
        let note = try? SmallFile.read(postingPath, bytesMax: Self.ledgerBytesMax)
        var recovery = Recovery(
            dropped: ledger.numbersBySession, posting: PostingNote(text: note ?? ""))
        let ids = names.compactMap { Self.id(in: $0, suffix: Self.eventsSuffix) }.sorted()
        for id in ids {
            let bytes = try SpoolFile.bytes(of: eventsPath(id), bytesMax: Self.segmentReadMax)
            try recover(id, bytes, isNewest: id == ids.last, &recovery)
        }
        // Lists whose segments are gone.
        for id in names.compactMap({ Self.id(in: $0, suffix: Self.removalsSuffix) })
        where !ids.contains(id) {
            try? SpoolFile.remove(removalsPath(id))
        }
        lastID = ids.last ?? 0
        if !isLedgerWritten { writeLedger() }
    }

    private mutating func recover(
        _ id: UInt64, _ bytes: [UInt8], isNewest: Bool, _ recovery: inout Recovery
    ) throws(FileProblem) {
        let scan = SegmentScan(bytes)
        if scan.isOfOtherVersion { return setAside(id) }
        let list = scan.nonce.flatMap { nonce in
            (try? SpoolFile.bytes(of: removalsPath(id), bytesMax: Self.segmentReadMax))
                .flatMap { RemovalList(in: $0, nonce: nonce) }
        }
        var segment = SpoolSegment(
            id: id, nonce: scan.nonce, firstPosition: nextPosition, byteCount: bytes.count)
        segment.removalCount = list?.entryCount
        if recovery.last.map({ $0.segment &+ 1 != id }) ?? false {
            recovery.last = nil
            recovery.damagedBytes = 0
        }
        var damages = scan.damages[...]
        func noteDamage(before end: Int) {
            while let damage = damages.first, damage.lowerBound < end {
                damages.removeFirst()
                // What was delivered is not missed.
                if !(list?.contains(damage) ?? false) { recovery.damagedBytes += damage.count }
            }
        }
        for place in scan.places {
            noteDamage(before: place.start)
            let record = place.record
            loseMissing(before: record, recovery)
            let isDropped =
                recovery.dropped[record.session]?.contains { $0.contains(record.number) } ?? false
            segment.add(
                record, at: place.start,
                isGone: isDropped || list?.contains(place.start..<place.end) ?? false)
            let index = segment.entries.count - 1
            if segment.standings[index] == .waiting,
                recovery.posting.contains(record.number, of: record.session)
            {
                segment.set(.taken, index)
                underWay.append(pick(index, of: segment, isBacklog: true))
            }
            recovery.last = (id, record.session, record.number)
            recovery.damagedBytes = 0
        }
        noteDamage(before: bytes.count)
        tell(scan, id, isNewest: isNewest)
        nextPosition = segment.endPosition
        if isNewest { open(&segment, scan, list) }
        if segment.isEmpty { removeFiles(of: id) } else { segments.append(segment) }
    }

    /// Notes the numbers that went with damaged bytes, when the bytes can have held them.
    private mutating func loseMissing(before record: SpoolRecord, _ recovery: Recovery) {
        guard recovery.damagedBytes > 0, let last = recovery.last,
            last.session == record.session, last.number < record.number
        else { return }
        let missing = record.number - last.number - 1
        guard missing <= UInt64(recovery.damagedBytes / SpoolRecord.fixedByteCount) else { return }
        for offset in 0..<missing {
            lose(last.number + 1 + offset, of: record.session, because: .corrupt)
        }
    }

    /// Goes on with the newest segment, without what was torn at its end.
    ///
    /// Not when its list of removals reaches beyond the end: a power cut took events that were delivered, and
    /// new ones in their place would count as removed.
    private mutating func open(
        _ segment: inout SpoolSegment, _ scan: SegmentScan, _ list: RemovalList?
    ) {
        guard scan.nonce != nil, (list?.end ?? 0) <= scan.end, !segment.isEmpty,
            scan.end < limits.segmentBytesMax
        else { return }
        do throws(FileProblem) {
            let file = try SpoolFile(eventsPath(segment.id), emptied: false)
            try file.truncate(to: scan.end)
            segment.cut(to: scan.end)
            active = file
        } catch {
            // Another segment is begun when there is something to write.
        }
    }

    /// Leaves a segment that another version of the probe wrote to that one, or to a person.
    private mutating func setAside(_ id: UInt64) {
        let path = eventsPath(id)
        let isMoved = rename(path, path + ".set-aside") == 0
        problems.append(
            Problem(
                level: .error,
                message: "a segment was written by another version of the probe and is set aside",
                metadata: ["file": "\(path)\(isMoved ? ".set-aside" : "")"]))
    }

    private mutating func tell(_ scan: SegmentScan, _ id: UInt64, isNewest: Bool) {
        for damage in scan.damages {
            let isTorn = isNewest && damage.lowerBound == scan.end
            problems.append(
                Problem(
                    level: isTorn ? .notice : .error,
                    message: isTorn
                        ? "an event was being written when the probe ended, and is cut off"
                        : "a part of the spool is damaged and skipped",
                    metadata: [
                        "file": "\(eventsPath(id))", "offset": "\(damage.lowerBound)",
                        "bytes": "\(damage.count)",
                    ]))
        }
    }

    private static func id(in name: String, suffix: String) -> UInt64? {
        guard name.hasSuffix(suffix) else { return nil }
        let digits = name.dropLast(suffix.utf8.count)
        return digits.utf8.count == 16 ? UInt64(digits, radix: 16) : nil
    }
}
