internal import ServiceKit

/// What a service has read from files and can read again.
protocol WatchedFiles {
    associatedtype Failure: Error
    /// The files, and which version of them was read last.
    var seen: (paths: [String], version: FilesVersion) { get }
    /// Reads the files again; when they are bad, what was read before stays.
    func readAgain() throws(Failure)
}

/// Notices that files have changed, without a signal.
///
/// A change is read when a second look finds nothing more changed, so that a file that is rewritten in its
/// place is not read half-written, where missing lines would look like revoked tokens. Files that keep
/// changing are read at the third look anyway: a revocation takes at most ``delayMax``.
///
/// Not safe to share: ``look()`` is for one thread.
struct FileWatch<Files: WatchedFiles> {
    private let store: Files
    private let onOutcome: (Outcome) -> Void
    private var pending: (version: FilesVersion, lookCount: Int)?
    private var refused: (version: FilesVersion, lookCount: Int)?

    enum Outcome {
        case loaded
        /// The first time for a version of the files.
        case refused(Files.Failure)
    }

    /// Between two looks.
    static var interval: Duration { .seconds(1) }
    /// Looks at files that keep changing before they are read.
    private static var looksMax: Int { 3 }
    /// Longest time from a change to its effect.
    static var delayMax: Duration { interval * (looksMax + 1) }
    /// Looks at a version that was bad before it is tried again: what was wrong may be the system's
    /// and leave no trace on the files, such as too many open ones.
    private static var looksBeforeRetry: Int { 30 }

    /// - Parameter onOutcome: Told of every reading, but only once of each bad version.
    init(_ store: Files, onOutcome: @escaping (Outcome) -> Void) {
        self.store = store
        self.onOutcome = onOutcome
    }

    /// Looks at the files, and reads them when it is time to.
    mutating func look() {
        let (paths, loaded) = store.seen
        let seen = FilesVersion(of: paths)
        guard seen != loaded else {
            pending = nil
            refused = nil
            return
        }
        if let refused, refused.version == seen, refused.lookCount < Self.looksBeforeRetry {
            self.refused?.lookCount += 1
            return
        }
        let lookCount = (pending?.lookCount ?? 0) + 1
        guard pending?.version == seen || lookCount >= Self.looksMax else {
            pending = (seen, lookCount)
            return
        }
        pending = nil
        do throws(Files.Failure) {
            try store.readAgain()
            refused = nil
            onOutcome(.loaded)
        } catch {
            let isNew = refused?.version != seen
            refused = (seen, 0)
            if isNew { onOutcome(.refused(error)) }
        }
    }

    /// Looks until it is told to end.
    mutating func run(until stop: StopSignal) {
        while !stop.wait(for: Self.interval) { look() }
    }
}
