extension HTTPPoster.Answer {
    /// How long the server asks to be left alone, if it does.
    func retryAfter(_ clock: ReferenceClock) -> Duration? {
        head.value(of: "retry-after").flatMap {
            RetryAfter.duration($0, nowMilliseconds: clock.reading().unixMilliseconds)
        }
    }
}

/// The `Retry-After` field (RFC 9110, section 10.2.3): seconds, or a moment.
enum RetryAfter {
    /// The longest wait that is obeyed: a server's mistake must not silence a probe for days.
    static let longest = Duration.seconds(3600)

    /// The wait that `text` asks for; nil when it is neither form.
    static func duration(_ text: String, nowMilliseconds: Int64) -> Duration? {
        if let seconds = Int64(text) {
            guard seconds >= 0 else { return nil }
            return min(.seconds(min(seconds, longest.components.seconds)), longest)
        }
        guard let moment = unixSeconds(ofHTTPDate: text) else { return nil }
        let (wait, overflow) = moment.subtractingReportingOverflow(nowMilliseconds / 1000)
        guard !overflow else { return nil }
        return .seconds(max(0, min(wait, longest.components.seconds)))
    }

    /// The moment in one of the three forms of RFC 9110, section 5.6.7:
    ///
    ///     Sun, 06 Nov 1994 08:49:37 GMT      as all should write it
    ///     Sunday, 06-Nov-94 08:49:37 GMT     obsolete
    ///     Sun Nov  6 08:49:37 1994           obsolete
    private static func unixSeconds(ofHTTPDate text: String) -> Int64? {
        let words = text.split(separator: " ").map(String.init)
        switch words.count {
        case 6 where words[5] == "GMT":
            return unixSeconds(year: words[3], month: words[2], day: words[1], time: words[4])
        case 4 where words[3] == "GMT":
            let date = words[1].split(separator: "-").map(String.init)
            guard date.count == 3, let short = Int64(date[2]), (0...99).contains(short) else {
                return nil
            }
            // No wait reaches decades ahead, and no server of the last century asks.
            return unixSeconds(
                year: "\(2000 + short)", month: date[1], day: date[0], time: words[2])
        case 5:
            return unixSeconds(year: words[4], month: words[1], day: words[2], time: words[3])
        default:
            return nil
        }
    }

    private static func unixSeconds(
        year: String, month: String, day: String, time: String
    ) -> Int64? {
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        guard time.utf8.count == 8, let day = Int64(day), (1...31).contains(day),
            let month = months.firstIndex(of: month),
            let year = Int64(year), (1970...9999).contains(year)
        else { return nil }
        let time = time.split(separator: ":").compactMap { Int64($0) }
        guard time.count == 3, (0...23).contains(time[0]), (0...59).contains(time[1]),
            (0...60).contains(time[2])
        else { return nil }
        // Years that begin in March put the leap day last, so that months have fixed offsets.
        let shiftedYear = month < 2 ? year - 1 : year
        let shiftedMonth = Int64((month + 10) % 12)
        let leapDays = shiftedYear / 4 - shiftedYear / 100 + shiftedYear / 400
        let daysToEpoch: Int64 = 719_468
        let days =
            shiftedYear * 365 + leapDays + (153 * shiftedMonth + 2) / 5 + day - 1 - daysToEpoch
        return days * 86400 + time[0] * 3600 + time[1] * 60 + time[2]
    }
}
