package import Telemetry
internal import Transport

/// What one measurement of one target found.
///
/// It becomes an ``Telemetry/Event`` when it is numbered; the rest is for people and logs.
package struct Measurement: Sendable {
    /// Where and why a measurement failed.
    package struct Failure: Sendable, Equatable {
        package let stage: ErrorStage
        /// One line for a log.
        package let message: String

        package init(stage: ErrorStage, message: String) {
            self.stage = stage
            self.message = message
        }
    }

    /// When it began.
    package let startedAt: MeasurementMoment
    /// Only what was measured.
    package var metrics = MetricSet()
    /// Nil when the measurement succeeded.
    package var failure: Failure?
    /// The address the measurement left from.
    package var sourceAddress: String?
    /// The address that was measured, or tried last.
    package var remoteAddress: String?
    /// `TLSv1.2` or `TLSv1.3`; nil without TLS.
    package var tlsVersion: String?
    /// The HTTP status.
    package var status: Int?
    /// The body's bytes that arrived; nil when no answer began.
    package var bodyBytes: Int?
    /// Whether reading ended at the byte budget instead of at the body's end.
    package var stoppedAtBudget = false
    /// What was found beside the metrics, in the order in which to show it.
    package var details: [MeasurementDetail] = []

    package init(startedAt: MeasurementMoment) {
        self.startedAt = startedAt
    }

    /// Records a time; a value out of the metric's range is as if not measured.
    mutating func record(_ duration: Duration?, as metric: Metric) {
        guard let duration else { return }
        metrics[metric] = MetricValue(duration.inMilliseconds, of: metric)
    }

    /// A failed measurement, unless the failure is this machine's own and says nothing of the target.
    func failed(by failure: HTTPFailure, in stage: ErrorStage) -> MeasurementOutcome {
        if case .transport(let error) = failure {
            switch error.code {
            case .interrupted, .system, .invalidConfiguration:
                return .notMeasured(reason: error.message)
            default: break
            }
        }
        var failed = self
        failed.failure = .init(stage: stage, message: failure.message)
        return .measured(failed)
    }
}

/// What came of the attempt to measure.
package enum MeasurementOutcome: Sendable {
    /// The target, or the network to it, was measured: also when that failed.
    case measured(Measurement)
    /// Nothing was learned of the target: this machine could not measure, or was stopped.
    case notMeasured(reason: String)
}
