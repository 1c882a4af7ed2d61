internal import Telemetry

/// A cell's key in memory.
struct CellID: Hashable, Sendable {
    let client: UInt32
    let target: UInt32
    let window: Window

    static func == (a: CellID, b: CellID) -> Bool {
        a.client == b.client && a.target == b.target && a.window == b.window
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(UInt64(client) << 32 | UInt64(target))
        hasher.combine(window.minute)
    }
}

/// A session's key in memory.
struct SessionID: Hashable, Sendable {
    let client: UInt32
    let session: UniqueID
}

/// A cell in memory, whose context is a number until the cell becomes a row.
struct LiveCell: Sendable {
    private(set) var cell: Cell
    private var context: UInt32?
    private var contextMeasuredAtMilliseconds: Int64 = .min

    /// A cell without events.
    init() {
        cell = Cell()
    }

    /// A cell from its row.
    init(_ cell: Cell, context: UInt32) {
        self.cell = cell
        if let measuredAt = cell.contextMeasuredAtMilliseconds {
            self.context = context
            contextMeasuredAtMilliseconds = measuredAt
        }
    }

    @inline(__always)
    mutating func count(errorStage: ErrorStage?, isLate: Bool) {
        cell.count(errorStage: errorStage, isLate: isLate)
    }

    @inline(__always)
    mutating func insert(_ value: MetricValue, of metric: Metric) {
        cell.insert(value, of: metric)
    }

    /// As ``Cell/update(context:measuredAtMilliseconds:)``.
    @inline(__always)
    mutating func update(
        context new: UInt32, measuredAtMilliseconds: Int64, among contexts: ContextTable
    ) {
        if let old = context {
            if measuredAtMilliseconds < contextMeasuredAtMilliseconds { return }
            if measuredAtMilliseconds == contextMeasuredAtMilliseconds,
                old == new || !ContextOrder.precedes(contexts[old], contexts[new])
            {
                return
            }
        }
        context = new
        contextMeasuredAtMilliseconds = measuredAtMilliseconds
    }

    /// The cell with its context.
    func materialized(with contexts: ContextTable) -> Cell {
        var cell = cell
        if let context {
            cell.update(
                context: contexts[context],
                measuredAtMilliseconds: contextMeasuredAtMilliseconds)
        }
        return cell
    }
}
