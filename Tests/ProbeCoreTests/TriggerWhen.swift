import FoundationEssentials
import OwnedThreads
import TestKit
import Transport

/// Triggers an interrupt from a thread of its own once a condition holds.
final class TriggerWhen: Sendable {
    private let thread: OwnedThread

    init(_ interrupt: Interrupt, _ condition: @escaping @Sendable () -> Bool) {
        thread = OwnedThread(name: "trigger") {
            if eventually(condition) { interrupt.trigger() }
        }
    }

    func join() { thread.join() }
}

func writeText(_ text: String, to path: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path))
}
