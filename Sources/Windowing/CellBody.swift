internal import Telemetry

/// The counts and the metrics of a cell: all of it but where its events came from.
struct CellBody: Hashable, Sendable {
    var total: Int64 = 0
    var success: Int64 = 0
    var error: Int64 = 0
    /// Events received more than two minutes after the window's end.
    var late: Int64 = 0
    /// By the stages' raw values from 1 on; empty while there was no error, as in most cells.
    private var errorsByStage: [Int64] = []
    var metrics = MetricTable()

    func errors(at stage: ErrorStage) -> Int64 {
        errorsByStage.isEmpty ? 0 : errorsByStage[Int(stage.rawValue) - 1]
    }

    mutating func setErrors(_ count: Int64, at stage: ErrorStage) {
        guard count != errors(at: stage) else { return }
        if errorsByStage.isEmpty {
            errorsByStage = Array(repeating: 0, count: ErrorStage.allCases.count)
        }
        errorsByStage[Int(stage.rawValue) - 1] = count
    }

    /// Counts one event.
    @inline(__always)
    mutating func count(errorStage: ErrorStage?, isLate: Bool) {
        total &+= 1
        if let errorStage {
            error &+= 1
            setErrors(errors(at: errorStage) &+ 1, at: errorStage)
        } else {
            success &+= 1
        }
        if isLate { late &+= 1 }
    }
}
