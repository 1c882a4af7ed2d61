/// How time spans and sizes are written in settings: a whole number and a unit.
package enum UnitText {
    /// Reads `500ms`, `30s`, `5m`, `2h` or `7d`; nil when the text is none of these.
    package static func duration(_ text: String) -> Duration? {
        guard let (count, unit) = split(text) else { return nil }
        guard let factor = durationUnits.first(where: { $0.name == unit })?.milliseconds
        else { return nil }
        let (milliseconds, overflow) = count.multipliedReportingOverflow(by: factor)
        guard !overflow, milliseconds <= longestMilliseconds else { return nil }
        return .milliseconds(milliseconds)
    }

    /// Writes a time span in the largest unit that divides it, such as `90s`.
    package static func text(of duration: Duration) -> String {
        let parts = duration.components
        let milliseconds = parts.seconds &* 1000 &+ parts.attoseconds / 1_000_000_000_000_000
        guard milliseconds != 0 else { return "0s" }
        for unit in durationUnits where milliseconds % Int64(unit.milliseconds) == 0 {
            return "\(milliseconds / Int64(unit.milliseconds))\(unit.name)"
        }
        return "\(milliseconds)ms"
    }

    /// Reads `65536`, `64KiB`, `512MiB` or `10GiB` (and KB, MB, GB by thousands).
    package static func byteCount(_ text: String) -> Int? {
        guard let (count, unit) = split(text) else { return nil }
        guard let factor = byteUnits.first(where: { $0.name == unit })?.bytes else { return nil }
        let (bytes, overflow) = count.multipliedReportingOverflow(by: factor)
        return overflow ? nil : bytes
    }

    /// Writes a number of bytes in the largest binary unit that divides it, such as `64KiB`.
    package static func text(ofByteCount bytes: Int) -> String {
        for unit in byteUnits
        where unit.isBinary && bytes >= unit.bytes && bytes % unit.bytes == 0 {
            return "\(bytes / unit.bytes)\(unit.name)"
        }
        return "\(bytes)"
    }

    /// A century: far beyond any sensible span, and safe in every later calculation.
    private static let longestMilliseconds = 100 * 365 * 86_400_000

    private static let durationUnits: [(name: String, milliseconds: Int)] = [
        ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
    ]

    private static let byteUnits: [(name: String, bytes: Int, isBinary: Bool)] = [
        ("TiB", 1 << 40, true), ("GiB", 1 << 30, true), ("MiB", 1 << 20, true),
        ("KiB", 1 << 10, true), ("TB", 1_000_000_000_000, false), ("GB", 1_000_000_000, false),
        ("MB", 1_000_000, false), ("KB", 1000, false), ("B", 1, false), ("", 1, false),
    ]

    private static func split(_ text: String) -> (count: Int, unit: Substring)? {
        let digits = text.prefix { $0.isASCII && $0.isWholeNumber }
        guard let count = Int(digits) else { return nil }
        return (count, text[digits.endIndex...])
    }
}
