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

    /// The moment in an IMF-fixdate such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
    private static func unixSeconds(ofHTTPDate text: String) -> Int64? {
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        let words = text.split(separator: " ")
        guard words.count == 6, words[5] == "GMT", words[4].utf8.count == 8,
            let day = Int64(words[1]), (1...31).contains(day),
            let month = months.firstIndex(of: String(words[2])),
            let year = Int64(words[3]), (1970...9999).contains(year)
        else { return nil }
        let time = words[4].split(separator: ":").compactMap { Int64($0) }
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
