import Glibc
import LinkEmulation
import OwnedThreads
import Synchronization

/// Notes a direction's counters every few milliseconds.
final class LinkWatch: Sendable {
    struct Note: Sendable {
        let moment: ContinuousClock.Instant
        let counters: LinkCounters
    }

    private static let everyMicroseconds: UInt32 = 5_000

    private let isStopping = Atomic(false)
    private let seen = Monitor<[Note]>([])
    private let thread = Mutex<OwnedThread?>(nil)

    init(_ link: EmulatedLink, _ direction: EmulatedLink.Direction) {
        let watcher = OwnedThread(name: "watch the link") { [self] in
            LinkEmulation.makeCallingThreadPunctual()
            while !isStopping.load(ordering: .acquiring) {
                let note = Note(moment: .now, counters: link.counters(direction))
                seen.withLock { $0.append(note) }
                usleep(Self.everyMicroseconds)
            }
        }
        thread.withLock { $0 = watcher }
    }

    /// Ends watching; gives what was seen.
    func stop() -> [Note] {
        isStopping.store(true, ordering: .releasing)
        thread.withLock { $0 }?.join()
        return seen.withLock { $0 }
    }
}
