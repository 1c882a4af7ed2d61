internal import Telemetry

/// One minute of UTC, named by its number since the Unix epoch.
package struct Window: Hashable, Comparable, Sendable {
    /// Minutes since the Unix epoch.
    package let minute: Int64

    package init(minute: Int64) {
        self.minute = minute
    }

    /// The window that holds a time, Unix milliseconds; times before the epoch round down as well.
    package init(containing milliseconds: Int64) {
        let length = EventLimits.windowMilliseconds
        let quotient = milliseconds / length
        minute = milliseconds % length < 0 ? quotient - 1 : quotient
    }

    /// The window's first millisecond, Unix time.
    package var startMilliseconds: Int64 { minute &* EventLimits.windowMilliseconds }

    /// The first millisecond after the window, Unix time.
    package var endMilliseconds: Int64 { startMilliseconds &+ EventLimits.windowMilliseconds }

    /// The window that follows.
    package var next: Window { Window(minute: minute &+ 1) }

    package static func < (a: Window, b: Window) -> Bool { a.minute < b.minute }
}
