internal import Telemetry

/// A cell's key in memory.
struct CellID: SlotKey {
    let client: UInt32
    let target: UInt32
    let window: Window

    var slotHash: UInt64 {
        SlotHash.mix(
            UInt64(client) << 32 | UInt64(target), UInt64(bitPattern: window.minute))
    }
}

extension CellID {
    /// The order of ``CellKey`` in one number, by the ranks of the names.
    func order(_ names: NameTable) -> UInt128 {
        let minute = UInt64(bitPattern: window.minute) ^ 1 << 63
        let ranks = UInt64(names.rank(of: client)) << 32 | UInt64(names.rank(of: target))
        return UInt128(minute) << 64 | UInt128(ranks)
    }
}

/// A session's key in memory.
struct SessionID: SlotKey {
    let client: UInt32
    let session: UniqueID

    var slotHash: UInt64 {
        SlotHash.mix(SlotHash.mix(session.high, session.low), UInt64(client))
    }
}

/// The order of ``SessionKey``, by the rank of the client's name.
struct SessionOrder: Comparable {
    let clientRank: UInt32
    let session: UniqueID

    static func < (a: SessionOrder, b: SessionOrder) -> Bool {
        a.clientRank != b.clientRank ? a.clientRank < b.clientRank : a.session < b.session
    }
}

/// A cell in memory, whose context is a number until the cell becomes a row.
struct LiveCell: Sendable {
    private var body = CellBody()
    private var context: UInt32 = noContext
    private var contextMeasuredAtMilliseconds: Int64 = .min

    private static let noContext = UInt32.max

    /// A cell without events.
    init() {}

    /// A cell from its row.
    init(_ cell: Cell, context: UInt32) {
        body = cell.contents
        if let measuredAt = cell.contextMeasuredAtMilliseconds {
            self.context = context
            contextMeasuredAtMilliseconds = measuredAt
        }
    }

    @inline(__always)
    mutating func count(errorStage: ErrorStage?, isLate: Bool) {
        body.count(errorStage: errorStage, isLate: isLate)
    }

    @inline(__always)
    mutating func insert(_ value: MetricValue, of metric: Metric) {
        body.metrics.insert(value, of: metric)
    }

    /// As ``Cell/update(context:measuredAtMilliseconds:)``.
    @inline(__always)
    mutating func update(
        context new: UInt32, measuredAtMilliseconds: Int64, among contexts: ContextTable
    ) {
        if context != Self.noContext {
            if measuredAtMilliseconds < contextMeasuredAtMilliseconds { return }
            if measuredAtMilliseconds == contextMeasuredAtMilliseconds,
                context == new || !ContextOrder.precedes(contexts[context], contexts[new])
            {
                return
            }
        }
        context = new
        contextMeasuredAtMilliseconds = measuredAtMilliseconds
    }

    /// The cell with its context.
    func materialized(with contexts: ContextTable) -> Cell {
        var cell = Cell(body)
        if context != Self.noContext {
            cell.update(
                context: contexts[context],
                measuredAtMilliseconds: contextMeasuredAtMilliseconds)
        }
        return cell
    }
}
