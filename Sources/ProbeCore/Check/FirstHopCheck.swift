internal import Telemetry
internal import Transport

/// Whether this machine has a way out, and the gateway answers.
enum FirstHopCheck {
    static let name = "first hop"

    static func run(_ watch: CheckWatch, _ timeout: Duration) -> CheckFinding {
        let target: FirstHopTarget
        do throws(TargetRefusal) {
            guard case .firstHop(let made) = try Target("first-hop count=3 wait=1s").method else {
                preconditionFailure("the text says first-hop")
            }
            target = made
        } catch {
            preconditionFailure("\(error)")
        }
        do throws(TransportError) {
            let outcome = try watch.run(within: timeout) { patience in
                FirstHopMeter().measure(target, patience.interrupt)
            }
            switch outcome {
            case .notMeasured(let reason): return .skipped(name, reason)
            case .measured(let measurement): return finding(measurement)
            }
        } catch {
            return .skipped(name, error.message)
        }
    }

    static func finding(_ measurement: Measurement) -> CheckFinding {
        let details = measurement.details.map { "\($0.name) \($0.value.text)" }
        let route = details.filter { $0.hasPrefix("gateway ") || $0.hasPrefix("interface ") }
            .joined(separator: ", ")
        guard let failure = measurement.failure else {
            let roundTrip = measurement.metrics[.rtt].map { " in \(decimal($0.inUnit)) ms" } ?? ""
            return .ok(name, "\(route), answers\(roundTrip)")
        }
        let isRouted = !details.isEmpty
        return .warning(
            name, (isRouted ? route + ": " : "") + failure.message,
            isRouted
                ? "if the other checks are ok the gateway only keeps silent; else look at the cable,"
                    + " the wireless network and the gateway"
                : "bring the uplink up; without one only this machine and its neighbours are reached"
        )
    }
}
