package import Postgres

/// Series of numbers over time or another number, drawn with the dots of braille characters: one panel per
/// series, all over the same axis.
///
/// Neighbouring rows are joined by a line; where a value is NULL the line has a gap.
package struct LinePlot {
    struct Series {
        let name: String
        /// As many as there are places on the axis; nil where nothing was measured.
        let values: [Double?]
    }

    private let axisName: String
    private let isTime: Bool
    /// In rising order.
    let places: [Double]
    let series: [Series]
    /// Rows without a place on the axis.
    package let leftOutCount: Int

    /// More panels fit on no screen.
    private static let seriesMax = 12

    /// Sorts the rows along the first column.
    ///
    /// - Throws: ``OperatorError`` when the columns are not a time or number and numbers, or nothing is left.
    package init(_ text: PostgresText) throws(OperatorError) {
        guard let axis = text.columns.first, axis.typeID.isTime || axis.typeID.isNumber,
            text.columns.count > 1
        else {
            throw OperatorError(
                "a plot needs a time or a number in the first column, and numbers in the others")
        }
        for (index, column) in text.columns.enumerated().dropFirst()
        where !column.typeID.isNumber {
            throw OperatorError(
                "column \(index + 1) (\(column.name)) is no number; for a line per group write "
                    + "one column for each, such as avg(x) FILTER (WHERE isp = 'a') AS a")
        }
        guard text.columns.count - 1 <= Self.seriesMax else {
            throw OperatorError("a plot has at most \(Self.seriesMax) columns of numbers")
        }
        let points = text.rows.compactMap { row -> (Double, [String?])? in
            guard let place = row[0].flatMap({ Self.place($0, isTime: axis.typeID.isTime) })
            else { return nil }
            return (place, row)
        }.sorted { $0.0 < $1.0 }
        guard !points.isEmpty else { throw OperatorError("there are no rows to plot") }
        axisName = axis.name
        isTime = axis.typeID.isTime
        places = points.map(\.0)
        leftOutCount = text.rows.count - points.count
        series = text.columns.indices.dropFirst().map { column in
            Series(
                name: PayloadText.printable(text.columns[column].name),
                values: points.map { point in
                    point.1[column].flatMap { Double($0) }.flatMap { $0.isFinite ? $0 : nil }
                })
        }
    }

    private static func place(_ text: String, isTime: Bool) -> Double? {
        let place = isTime ? CalendarTime.seconds(text) : Double(text)
        return place.flatMap { $0.isFinite ? $0 : nil }
    }

    /// Rows for each panel, such that all of them fit on a usual screen.
    package var panelHeight: Int { series.count == 1 ? 15 : series.count < 4 ? 8 : 5 }

    /// The plot for a screen of `width` columns.
    ///
    /// - Parameter height: Rows of each panel.
    package func lines(width: Int, height: Int) -> [String] {
        let ranges = series.map { ValueRange($0.values.compactMap { $0 }, ticks: height / 3) }
        let labelWidth =
            ranges.flatMap { $0?.ticks ?? [] }.map { shortNumber($0).count }.max() ?? 1
        let canvasWidth = max(10, width - labelWidth - 2)
        var lines: [String] = []
        for (series, range) in zip(series, ranges) {
            guard let range else {
                lines += ["\(series.name): nothing was measured", ""]
                continue
            }
            lines.append(title(series, range))
            lines += panel(
                series, range, width: canvasWidth, height: height, labelWidth: labelWidth)
        }
        return lines + axis(width: canvasWidth, labelWidth: labelWidth)
    }

    private func title(_ series: Series, _ range: ValueRange) -> String {
        let gaps = series.values.count { $0 == nil }
        let last = series.values.last { $0 != nil }.flatMap { $0 }
        return "\(series.name)  from \(shortNumber(range.least)) to \(shortNumber(range.greatest))"
            + (last.map { ", last \(shortNumber($0))" } ?? "")
            + (gaps > 0 ? ", \(gaps) of \(series.values.count) are NULL" : "")
    }

    private func panel(
        _ series: Series, _ range: ValueRange, width: Int, height: Int, labelWidth: Int
    ) -> [String] {
        var canvas = BrailleCanvas(width: width, height: height)
        let (first, span) = (places[0], max(places[places.count - 1] - places[0], .ulpOfOne))
        var previous: (x: Int, y: Int)?
        for (place, value) in zip(places, series.values) {
            guard let value else {
                previous = nil
                continue
            }
            let dot = (
                x: canvas.column((place - first) / span),
                y: canvas.row((value - range.bottom) / (range.top - range.bottom))
            )
            canvas.draw(from: previous ?? dot, to: dot)
            previous = dot
        }
        var labels: [Int: String] = [:]
        for tick in range.ticks {
            let share = (tick - range.bottom) / (range.top - range.bottom)
            labels[canvas.row(share) / BrailleCanvas.dotsDown] = shortNumber(tick)
        }
        return canvas.lines.enumerated().map { row, dots in
            let label = labels[row] ?? ""
            let gap = String(repeating: " ", count: max(0, labelWidth - label.count))
            return "\(gap)\(label) \(labels[row] == nil ? "│" : "┤")\(dots)"
        }
    }

    private func axis(width: Int, labelWidth: Int) -> [String] {
        let margin = String(repeating: " ", count: labelWidth + 1)
        let (first, last) = (places[0], places[places.count - 1])
        func label(_ place: Double) -> String {
            isTime ? CalendarTime.text(place, hasSeconds: last - first < 600) : shortNumber(place)
        }
        let ends = (label(first), label(last))
        let middle = label(first + (last - first) / 2)
        var text = ends.0
        let middleStart = (width - middle.count) / 2
        if middleStart > ends.0.count + 2, middleStart + middle.count + 2 < width - ends.1.count {
            text += String(repeating: " ", count: middleStart - text.count) + middle
        }
        text += String(repeating: " ", count: max(1, width - text.count - ends.1.count)) + ends.1
        let name = PayloadText.printable(axisName) + (isTime ? " (UTC)" : "")
        return [
            margin + "└" + String(repeating: "─", count: width), margin + " " + text,
            margin + " " + name,
        ]
    }
}

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

/// Dots in the cells of a terminal, two across and four down in each (Unicode block 2800).
struct BrailleCanvas {
    static let dotsAcross = 2
    static let dotsDown = 4

    private let width: Int
    private let height: Int
    private var cells: [UInt8]

    init(width: Int, height: Int) {
        self.width = width
        self.height = height
        cells = [UInt8](repeating: 0, count: width * height)
    }

    /// The dot for a share from 0 at the left to 1 at the right.
    func column(_ share: Double) -> Int { Self.dot(share, width * Self.dotsAcross) }

    /// The dot for a share from 0 at the bottom to 1 at the top, counted from the top.
    func row(_ share: Double) -> Int {
        height * Self.dotsDown - 1 - Self.dot(share, height * Self.dotsDown)
    }

    private static func dot(_ share: Double, _ count: Int) -> Int {
        guard share.isFinite else { return 0 }
        return Int((min(max(share, 0), 1) * Double(count - 1)).rounded())
    }

    /// Bresenham's line.
    mutating func draw(from start: (x: Int, y: Int), to end: (x: Int, y: Int)) {
        var (x, y) = start
        let (dx, dy) = (abs(end.x - x), -abs(end.y - y))
        let (stepX, stepY) = (x < end.x ? 1 : -1, y < end.y ? 1 : -1)
        var error = dx + dy
        while true {
            set(x, y)
            if x == end.x, y == end.y { return }
            let doubled = 2 * error
            if doubled >= dy {
                error += dy
                x += stepX
            }
            if doubled <= dx {
                error += dx
                y += stepY
            }
        }
    }

    private mutating func set(_ x: Int, _ y: Int) {
        let cell = y / Self.dotsDown * width + x / Self.dotsAcross
        guard cells.indices.contains(cell) else { return }
        cells[cell] |= Self.bits[y % Self.dotsDown][x % Self.dotsAcross]
    }

    /// The bit of each dot, by row and column.
    private static let bits: [[UInt8]] = [
        [0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80],
    ]

    var lines: [String] {
        (0..<height).map { row in
            var line = String.UnicodeScalarView()
            for cell in cells[row * width..<(row + 1) * width] {
                // Every value up to 0x28FF is a scalar; an empty cell is a space.
                line.append(cell == 0 ? " " : Unicode.Scalar(0x2800 + UInt16(cell)) ?? " ")
            }
            var text = String(line)
            while text.last == " " { text.removeLast() }
            return text
        }
    }
}

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
