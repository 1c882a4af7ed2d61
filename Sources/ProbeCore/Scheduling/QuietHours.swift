internal import Glibc

/// Times of the day at which nothing is measured, such as `22:00-06:00`.
package struct QuietHours: Sendable, Hashable {
    /// Minutes of the day, from the first on and before the second; over midnight when the first is larger.
    private struct Span: Sendable, Hashable {
        let begin: Int
        let end: Int

        func contains(_ minute: Int) -> Bool {
            begin <= end ? begin <= minute && minute < end : begin <= minute || minute < end
        }
    }

    private let spans: [Span]

    /// None.
    package init() {
        spans = []
    }

    /// The times in texts such as `22:00-06:00`; nil when one is not of this form or ends where it begins.
    package init?(_ texts: [String]) {
        var spans: [Span] = []
        for text in texts {
            let ends = text.split(separator: "-", omittingEmptySubsequences: false)
            let minutes = ends.compactMap(Self.minute(ofDay:))
            guard ends.count == 2, minutes.count == 2, minutes[0] != minutes[1] else { return nil }
            spans.append(Span(begin: minutes[0], end: minutes[1]))
        }
        self.spans = spans
    }

    /// Whether `milliseconds` of Unix time are within them, by this machine's time zone.
    package func contain(unixMilliseconds milliseconds: Int64) -> Bool {
        guard !spans.isEmpty else { return false }
        var seconds = time_t(milliseconds / 1000)
        var parts = tm()
        // Outside the range of years there is no time of day, and nothing to keep quiet for.
        guard localtime_r(&seconds, &parts) != nil else { return false }
        return contain(minuteOfDay: Int(parts.tm_hour) * 60 + Int(parts.tm_min))
    }

    /// Whether a minute of the day is within them.
    func contain(minuteOfDay minute: Int) -> Bool {
        spans.contains { $0.contains(minute) }
    }

    private static func minute(ofDay text: Substring) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2,
            parts.allSatisfy({ $0.utf8.count == 2 && $0.allSatisfy(\.isNumber) }),
            let hour = UInt8(parts[0]), let minute = UInt8(parts[1]),
            hour < 24 || (hour == 24 && minute == 0), minute < 60
        else { return nil }
        return Int(hour) * 60 + Int(minute)
    }
}
