internal import Telemetry
internal import Transport

/// One measurement of one target.
///
/// That it fails is no fault of the probe's: telling that is what it is for.
struct TargetCheck {
    static let name = "target"

    let target: Target
    let timeout: Duration

    func run(_ meters: Meters, _ watch: CheckWatch) -> CheckFinding {
        let subject = target.name.text
        do throws(TransportError) {
            return try watch.run(within: allowance) { patience in
                let outcome = meters.measure(target, interrupt: patience.interrupt)
                return finding(
                    outcome, isCut: patience.interrupt?.isTriggered == true, subject)
            }
        } catch {
            return .skipped(Self.name, of: subject, error.message)
        }
    }

    /// A transfer takes the time of its budget besides.
    private var allowance: Duration {
        let own = target.timeout ?? timeout
        switch target.method {
        case .transfer(let load): return own + load.budget.duration
        case .loaded(let load): return own + load.budget.duration
        case .http, .dns, .tcp, .echo, .firstHop: return own
        }
    }

    private func finding(
        _ outcome: MeasurementOutcome, isCut: Bool, _ subject: String
    ) -> CheckFinding {
        switch outcome {
        case .notMeasured(let reason):
            let why =
                if isCut {
                    "it takes longer than a check may"
                } else if reason == EchoPermission.remedy {
                    "not permitted; see the check \(EchoCheck.name)"
                } else {
                    reason
                }
            return .skipped(Self.name, of: subject, why)
        case .measured(let measurement):
            guard let failure = measurement.failure else {
                return .ok(Self.name, of: subject, Self.text(of: measurement.metrics))
            }
            return .warning(
                Self.name, of: subject, "failed in \(failure.stage.name): \(failure.message)",
                "the probe would report exactly this; 'probe once' shows the details")
        }
    }

    private static func text(of metrics: MetricSet) -> String {
        let values = Metric.allCases.compactMap { metric in
            metrics[metric].map { "\(metric.sqlName) \(decimal($0.inUnit))" }
        }
        return values.isEmpty ? "measured" : values.joined(separator: ", ")
    }
}
