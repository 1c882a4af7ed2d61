internal import CNamespaces
internal import Glibc

/// Whether links can be emulated on this machine.
package enum LinkEmulation {
    /// Why no link can be made here; nil when one can. Found out once, by making one.
    package static let obstacle: String? = {
        do {
            try EmulatedLink(seed: 0).close()
            return nil
        } catch {
            return "\(error)"
        }
    }()

    /// Whether a link can be made here, for the condition of a test. When not, it says so and why, once and loudly: what
    /// needs an impaired network proves nothing without one, and must not look as if it had passed.
    package static let isAvailable: Bool = {
        guard let obstacle else { return true }
        let warning = "NOT TESTED: nothing that needs an emulated link runs here: \(obstacle)\n"
        _ = unsafe write(STDERR_FILENO, warning, warning.utf8.count)
        return false
    }()

    /// Has the calling thread, which must be one of ours, run before ordinary ones and be woken without slack, as a
    /// link's own thread does. For what measures the emulation rather than a busy machine; it must sleep most of the time.
    ///
    /// - Returns: Whether the system allowed it.
    @discardableResult
    package static func makeCallingThreadPunctual() -> Bool {
        namespaces_make_calling_thread_punctual() == 0
    }
}
