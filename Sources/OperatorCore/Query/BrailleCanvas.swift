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
