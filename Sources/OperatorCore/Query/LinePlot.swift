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
