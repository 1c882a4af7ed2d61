/// What an axis of values shows.
struct ValueRange {
    let least: Double
    let greatest: Double
    /// Round numbers that enclose all values.
    let ticks: [Double]
    let bottom: Double
    let top: Double

    /// - Parameter wanted: About how many ticks.
    /// - Returns: Nil when there are no values.
    init?(_ values: [Double], ticks wanted: Int) {
        guard let least = values.min(), let greatest = values.max() else { return nil }
        self.least = least
        self.greatest = greatest
        // A line that is level has room above and below it.
        let span = greatest - least
        let width = span > 0 ? span : max(abs(least), 1)
        guard width.isFinite else {
            (ticks, bottom, top) = ([least, greatest], least, greatest)
            return
        }
        let raw = width / Double(max(wanted, 1))
        let magnitude = Self.powerOfTen(below: raw)
        let step = [1, 2, 5, 10].map { $0 * magnitude }.first { $0 >= raw } ?? raw
        let first = (least / step).rounded(.down)
        var last = (greatest / step).rounded(.up)
        if last <= first { last = first + 1 }
        bottom = first * step
        top = last * step
        let count = min(max(0, last - first), 1000)
        ticks = stride(from: 0, through: count, by: 1).map { (first + $0) * step }
    }

    private static func powerOfTen(below value: Double) -> Double {
        var power = 1.0
        while power > value, power > 1e-300 { power /= 10 }
        while power * 10 <= value, power < 1e300 { power *= 10 }
        return power
    }
}

/// `value` with six significant digits and without zeros at the end.
func shortNumber(_ value: Double) -> String {
    guard value.isFinite, value != 0 else { return value == 0 ? "0" : "\(value)" }
    let magnitude = abs(value)
    guard magnitude >= 1e-4, magnitude < 1e12 else {
        return "\(Float(value))"
    }
    var digits = 0
    var scale = 1.0
    while magnitude * scale < 1e5, digits < 9 {
        scale *= 10
        digits += 1
    }
    let scaled = (magnitude * scale).rounded()
    let whole = (scaled / scale).rounded(.down)
    var text = "\(UInt64(whole))"
    var fraction = "\(UInt64((scaled - whole * scale).rounded()))"
    fraction = String(repeating: "0", count: max(0, digits - fraction.count)) + fraction
    while fraction.last == "0" { fraction.removeLast() }
    if !fraction.isEmpty { text += "." + fraction }
    return (value < 0 ? "-" : "") + text
}
