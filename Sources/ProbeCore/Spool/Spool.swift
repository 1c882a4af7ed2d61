internal import Glibc
package import Logging
internal import Synchronization
internal import Telemetry
internal import Transport

/// Where events wait until a server has taken them: on disk, within bounds.
///
/// An event that ``append(_:)`` was called with survives the end of the process, however that ends, and a power
/// cut once it is synchronised, at most ``tickEvery`` later. When the disk cannot be written, events wait in
/// memory within a bound. What cannot be kept is noted by session and number, on disk as well, and counted.
///
/// Safe to share among threads.
package final class Spool: Sendable {
    /// How often what was written is synchronised, losses are told, and a broken disk is tried again.
    package static let tickEvery = Duration.seconds(1)
    /// The time between two attempts to write to a disk that could not be written.
    private static let retryDiskEvery = Duration.seconds(5)
    /// The most stretches of lost numbers that one tick logs.
    private static let toldStretchesMax = 20

    private let folder: String?
    private let lock: StateLock?
    private let limits: SpoolLimits
    private let store: Mutex<SpoolStore>
    private let logger: Logger

    /// Opens the spool in a state folder, making what is not there; without a folder it is in memory alone.
    ///
    /// A disk that is full, broken or read-only is no reason to stop: what it holds is delivered, if it can be
    /// read, and events wait in memory.
    ///
    /// - Throws: ``FileProblem`` when another probe uses the folder, or it cannot be used for a reason that
    ///   only a person can mend.
    package init(
        stateFolder: String?, limits: SpoolLimits = SpoolLimits(), logger: Logger
    ) throws(FileProblem) {
        self.limits = limits
        self.logger = logger
        var lock: StateLock?
        var folder: String?
        if let stateFolder {
            do throws(FileProblem) {
                try SmallFile.makeFolder(stateFolder)
                lock = try StateLock(folder: stateFolder)
                try SmallFile.makeFolder("\(stateFolder)/spool")
                folder = "\(stateFolder)/spool"
            } catch {
                guard Self.mayPass(error) else { throw error }
                if access("\(stateFolder)/spool", R_OK) == 0 { folder = "\(stateFolder)/spool" }
                logger.error(
                    "the state folder cannot be written; events wait in memory alone",
                    metadata: ["reason": "\(error)"])
            }
        }
        self.lock = lock
        self.folder = folder
        var opened = SpoolStore(folder: folder, limits: limits)
        try opened.recover()
        store = Mutex(opened)
        tell()
        let status = status
        if status.depth > 0 {
            logger.notice(
                "events of earlier runs wait for delivery", metadata: ["count": "\(status.depth)"])
        }
    }

    /// Whether a folder's problem may pass while the probe runs.
    private static func mayPass(_ problem: FileProblem) -> Bool {
        switch problem.errorNumber {
        case EROFS, ENOSPC, EDQUOT, EIO: true
        default: false
        }
    }

    /// Adds an event as the newest.
    package func append(_ event: SpooledEvent) {
        store.withLock { $0.append(event) }
    }

    /// The place that the next event gets, counted since the start with what was there.
    package var endPosition: UInt64 { store.withLock { $0.nextPosition } }

    /// Takes events to be posted: they stay until ``finish(_:refused:)`` or ``putBack(_:)``, and are neither
    /// taken again nor dropped meanwhile.
    ///
    /// Events that are too old or damaged are noted as lost instead. Those that were added with the wall clock's time
    /// have ingest's if it is known by now. The batch is empty when there is nothing to post.
    package func take(_ request: SpoolRequest, at reading: ClockReading) -> SpooledBatch {
        while true {
            let picks = store.withLock { $0.take(request) }
            if picks.isEmpty { return SpooledBatch(items: []) }
            // The disk may be slow: measuring threads need the lock meanwhile.
            let read = read(picks)
            var items: [SpooledBatch.Item] = []
            var tooOld: [SpoolPlace] = []
            for item in read.items {
                if reading.isOlder(item.event.time, than: limits.ageMax) {
                    tooOld.append(item.place)
                } else {
                    items.append(item)
                }
            }
            store.withLock { store in
                store.lose(tooOld, because: .age)
                store.lose(read.damaged, because: .corrupt)
                store.putBack(read.unreadable)
            }
            if !items.isEmpty || !read.unreadable.isEmpty {
                return SpooledBatch(items: items, backlogCount: picks.count { $0.isBacklog })
                    .corrected(by: reading)
            }
        }
    }

    /// Takes the events that an earlier run may have posted without an answer: they are posted again first, and
    /// cannot be dropped before, so that what is noted as dropped is not stored.
    package func takeUnderWay() -> SpooledBatch {
        let picks = store.withLock { store in
            defer { store.underWay = [] }
            return store.underWay
        }
        let read = read(picks)
        store.withLock { store in
            store.lose(read.damaged, because: .corrupt)
            store.putBack(read.unreadable)
        }
        return SpooledBatch(items: read.items)
    }

    /// Notes that a batch is about to be posted, for ``takeUnderWay()`` of the next run if this one is killed.
    package func willPost(_ batch: SpooledBatch) {
        let events = batch.events
        store.withLock { $0.noteUnderWay(events) }
    }

    /// Removes the events of a batch: they are delivered, but for those at the indices in `refused`, which are
    /// noted as lost, and in `kept`, which are given back.
    package func finish(_ batch: SpooledBatch, refused: Set<Int>, kept: Set<Int> = []) {
        var delivered: [SpoolPlace] = []
        var lost: [SpoolPlace] = []
        var back: [SpoolPlace] = []
        for (index, item) in batch.items.enumerated() {
            if refused.contains(index) {
                lost.append(item.place)
            } else if kept.contains(index) {
                back.append(item.place)
            } else {
                delivered.append(item.place)
            }
        }
        store.withLock { store in
            store.putBack(back)
            store.lose(lost, because: .refused)
            store.remove(delivered)
        }
    }

    /// Gives the events of a batch back, to be taken again.
    package func putBack(_ batch: SpooledBatch) {
        store.withLock { $0.putBack(batch.items.map(\.place)) }
    }

    /// What waits and what was lost.
    package var status: SpoolStatus { store.withLock { $0.status } }

    /// All that was made and will never be delivered, also by earlier runs.
    package var ledger: DropLedger { store.withLock { $0.ledger } }

    /// Keeps the spool in order until `stop` is triggered, and then once more.
    package func keep(until stop: ProbeStop, clock: ReferenceClock) {
        var nextRetry = MonotonicInstant.now()
        repeat {
            let now = MonotonicInstant.now()
            if now >= nextRetry {
                retryDisk()
                nextRetry = now.advanced(by: Self.retryDiskEvery)
            }
            tick(at: clock.reading())
        } while !stop.sleep(until: .now().advanced(by: Self.tickEvery))
        close()
    }

    /// Synchronises what was written, drops what is too old, and logs what happened.
    package func tick(at reading: ClockReading) {
        let (descriptors, changedFolder) = store.withLock { store in
            store.dropSegments(olderThan: limits.ageMax, at: reading)
            if !store.isLedgerWritten { store.writeLedger() }
            return (store.takeUnsynchronised(), store.takeUnsynchronisedFolder())
        }
        synchronise(descriptors, changedFolder)
        tell()
    }

    /// Tries to write what waits in memory to the disk.
    package func retryDisk() {
        store.withLock { $0.retryDisk() }
    }

    /// Synchronises everything and removes what holds nothing. What cannot be written even now is noted as lost.
    package func close() {
        let descriptors = store.withLock { store in
            store.retryDisk()
            store.close()
            return store.takeUnsynchronised()
        }
        synchronise(descriptors, folder)
        tell()
    }

    private func synchronise(_ descriptors: [Int32], _ changedFolder: String?) {
        for descriptor in descriptors {
            if fdatasync(descriptor) != 0 {
                logger.error(
                    "the disk does not keep what was written; a power cut may take it",
                    metadata: ["reason": "\(TransportError.text(ofErrno: errno))"])
            }
            Glibc.close(descriptor)
        }
        if let changedFolder { SpoolFile.synchroniseFolder(changedFolder) }
    }

    private struct Read {
        var items: [SpooledBatch.Item] = []
        var damaged: [SpoolPlace] = []
        /// What the system could not read now, as when it has no descriptors left.
        var unreadable: [SpoolPlace] = []
    }

    private func read(_ picks: [SpoolStore.Pick]) -> Read {
        var read = Read()
        var rest = picks[...]
        while let first = rest.first {
            if let event = first.event {
                read.items.append(SpooledBatch.Item(place: first.place, event: event))
                rest.removeFirst()
                continue
            }
            let run = rest.prefix { $0.path == first.path && $0.event == nil }
            rest.removeFirst(run.count)
            do throws(FileProblem) {
                let bytes = try SpoolFile.bytes(of: first.path, run.map(\.bytes))
                for (pick, bytes) in zip(run, bytes) {
                    if let event = SpoolRecord.event(in: bytes[...]) {
                        read.items.append(SpooledBatch.Item(place: pick.place, event: event))
                    } else {
                        read.damaged.append(pick.place)
                    }
                }
            } catch {
                logger.error("the spool cannot be read", metadata: ["reason": "\(error)"])
                switch error.errorNumber {
                case EIO, ENOENT: read.damaged += run.map(\.place)
                default: read.unreadable += run.map(\.place)
                }
            }
        }
        return read
    }

    private func tell() {
        let (problems, losses) = store.withLock { store in
            defer {
                store.problems = []
                store.untoldLosses = DropLedger()
            }
            return (store.problems, store.untoldLosses)
        }
        for problem in problems {
            logger.log(level: problem.level, "\(problem.message)", metadata: problem.metadata)
        }
        for stretch in losses.stretches.prefix(Self.toldStretchesMax) {
            logger.error(
                "events will not be delivered",
                metadata: [
                    "session": "\(stretch.session)", "reason": "\(stretch.reason.rawValue)",
                    "numbers": "\(stretch.numbers.lowerBound)-\(stretch.numbers.upperBound)",
                ])
        }
        if losses.stretches.count > Self.toldStretchesMax {
            logger.error(
                "more events will not be delivered; the file 'dropped' of the spool names them",
                metadata: ["count": "\(losses.total)"])
        }
    }
}
