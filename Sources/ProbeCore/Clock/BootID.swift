internal import Telemetry

/// Which boot of the machine a moment of the clock since boot belongs to.
///
/// Half of the identifier of chance that the kernel makes at each boot (random(4)): what is kept with every event
/// had better be short, and a machine is not booted 2^32 times.
package struct BootID: Hashable, Sendable {
    /// Never 0, which stands for an unknown boot where boots are written down.
    package let value: UInt64

    package init?(_ value: UInt64) {
        guard value != 0 else { return nil }
        self.value = value
    }

    /// The present boot; nil when the system does not tell it.
    package static func current() -> BootID? {
        let text = try? SmallFile.read("/proc/sys/kernel/random/boot_id", bytesMax: 64)
        return text.flatMap { $0.split(whereSeparator: \.isWhitespace).first }
            .flatMap { UniqueID($0) }.flatMap { BootID($0.high) }
    }
}
