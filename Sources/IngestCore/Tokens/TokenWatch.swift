internal import ServiceKit

/// Notices that the tokens' files have changed, without a signal.
///
/// A change is read when a second look finds nothing more changed, so that a file that is rewritten in its
/// place is not read half-written, where missing lines would look like revoked tokens. Files that keep
/// changing are read at the third look anyway: a revocation takes at most ``delayMax``.
///
/// Not safe to share: ``look()`` is for one thread.
struct TokenWatch {
    private let store: TokenStore
    private let onOutcome: (Outcome) -> Void
    private var pending: (version: FilesVersion, lookCount: Int)?
    private var refused: (version: FilesVersion, lookCount: Int)?

    enum Outcome {
        case loaded
        /// The first time for a version of the files.
        case refused(TokenFileError)
    }

    /// Between two looks.
    static let interval = Duration.seconds(1)
    /// Looks at files that keep changing before they are read.
    private static let looksMax = 3
    /// Longest time from a change to its effect.
    static let delayMax = interval * (looksMax + 1)
    /// Looks at a version that was bad before it is tried again: what was wrong may be the system's
    /// and leave no trace on the files, such as too many open ones.
    private static let looksBeforeRetry = 30

    /// - Parameter onOutcome: Told of every reading, but only once of each bad version.
    init(_ store: TokenStore, onOutcome: @escaping (Outcome) -> Void) {
        self.store = store
        self.onOutcome = onOutcome
    }

    /// Looks at the files, and reads them when it is time to.
    mutating func look() {
        let (files, loaded) = store.origin
        let seen = FilesVersion(of: files)
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
        do throws(TokenFileError) {
            try store.reload(files)
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
