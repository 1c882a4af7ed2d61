@preconcurrency internal import Dispatch
internal import Glibc
internal import Synchronization

/// Turns signals into calls, on a thread that does not depend on Swift's cooperative ones: even a
/// program whose tasks all hang can be ended with Ctrl-C.
final class SignalWatch: Sendable {
    private let queue = DispatchQueue(label: "signals")
    private let sources = Mutex<[any DispatchSourceSignal]>([])

    /// Calls `handler` for each of the signals from now on; their default actions end.
    func on(_ signals: [Int32], _ handler: @escaping @Sendable (Int32) -> Void) {
        for number in signals {
            // Without this, the default action comes first. Ignored signals still reach the source.
            Glibc.signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { handler(number) }
            source.activate()
            sources.withLock { $0.append(source) }
        }
    }

    /// Calls `action` after a while, also if all tasks hang.
    func after(_ delay: Duration, _ action: @escaping @Sendable () -> Void) {
        let parts = delay.components
        let milliseconds = parts.seconds * 1000 + parts.attoseconds / 1_000_000_000_000_000
        queue.asyncAfter(
            deadline: .now() + .milliseconds(Int(milliseconds)), execute: action)
    }
}
