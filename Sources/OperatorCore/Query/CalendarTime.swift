/// PostgreSQL's times in the ISO style, UTC, as seconds since 1970 and back.
enum CalendarTime {
    /// `2026-11-21`, `2026-11-21 06:26:00.5` or `2026-11-21 06:26:00+00`; nil for all others.
    static func seconds(_ text: String) -> Double? {
        let halves = text.split(separator: " ")
        guard (1...2).contains(halves.count) else { return nil }
        let date = halves[0].split(separator: "-").compactMap { Int($0) }
        guard date.count == 3, (1...12).contains(date[1]), (1...31).contains(date[2]),
            (0...300_000).contains(date[0])
        else { return nil }
        var seconds = Double(days(date[0], date[1], date[2])) * 86_400
        if halves.count == 2 {
            let clock = halves[1].prefix { $0 != "+" && $0 != "-" }.split(separator: ":")
            let numbers = clock.compactMap { Double($0) }
            guard numbers.count == 3 else { return nil }
            seconds += numbers[0] * 3600 + numbers[1] * 60 + numbers[2]
        }
        return seconds
    }

    /// `2026-11-21 06:26`, with seconds if asked for.
    static func text(_ seconds: Double, hasSeconds: Bool) -> String {
        guard abs(seconds) < 8e12 else { return shortNumber(seconds) }
        let text = utcText(milliseconds: Int64(seconds.rounded(.down)) * 1000)
        return String(text.prefix(hasSeconds ? 19 : 16)).replacing("T", with: " ")
    }

    /// Days since 1970 in the Gregorian calendar: years that begin in March, in eras of 400 (Fliegel, Van
    /// Flandern, CACM 11, 1968, have the same arithmetic).
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month > 2 ? year : year - 1
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let daysPerEra = 146_097
        let epoch = 719_468
        return era * daysPerEra + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
            - epoch
    }
}
