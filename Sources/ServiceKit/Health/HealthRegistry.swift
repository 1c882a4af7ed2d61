internal import CoreMetrics
internal import Synchronization

/// What a program depends on, and whether each of it works.
///
/// `/health` says that the process is alive; `/ready` says that it can do its work, which is when
/// every dependency is ready and no shutdown has begun.
package final class HealthRegistry: Sendable {
    /// How a dependency is.
    package enum State: Sendable, Equatable {
        case ready
        /// In one sentence, without secrets.
        case failing(reason: String)
    }

    /// What a dependency is before it was first reported.
    package static let unreported = State.failing(reason: "starting")

    private struct Contents {
        var dependencies: [String: State] = [:]
        var isShuttingDown = false
    }

    private let contents = Mutex(Contents())

    /// - Parameter dependencies: Those that must be ready before the program is; more may be
    ///   declared later, and count as failing until they are reported.
    package init(dependencies: [String] = []) {
        declare(dependencies)
    }

    /// Adds dependencies that count as failing until they are reported.
    package func declare(_ dependencies: [String]) {
        contents.withLock { contents in
            for name in dependencies where contents.dependencies[name] == nil {
                contents.dependencies[name] = Self.unreported
            }
        }
    }

    /// Reports how a dependency is.
    ///
    /// - Returns: Whether that is news, for the caller to log.
    @discardableResult
    package func report(_ dependency: String, _ state: State) -> Bool {
        contents.withLock { $0.dependencies.updateValue(state, forKey: dependency) != state }
    }

    /// From now on `/ready` fails, so that load balancers turn away before connections close.
    package func beginShutdown() {
        contents.withLock { $0.isShuttingDown = true }
    }

    /// Whether everything is ready.
    package var isReady: Bool {
        contents.withLock { contents in
            !contents.isShuttingDown && contents.dependencies.values.allSatisfy { $0 == .ready }
        }
    }

    /// All dependencies, by name.
    package var dependencies: [String: State] { contents.withLock(\.dependencies) }

    /// Shows each declared dependency as `qoe_<program>_dependency_ready`, 1 or 0.
    func publish(to metrics: PrometheusRegistry, program: String) {
        metrics.onCollect { [weak metrics] in
            guard let metrics else { return }
            for (name, state) in self.dependencies {
                metrics.gauge(
                    "qoe_\(program)_dependency_ready",
                    help: "Whether what the program depends on works.",
                    labels: [("dependency", name)]
                ).set(state == .ready ? 1 : 0)
            }
        }
    }

    /// The answer to `/health`: 200 as long as the process can answer at all.
    package func liveness() -> HealthResponse {
        HealthResponse(status: 200, body: "{\"status\":\"ok\",\"version\":\"\(Build.version)\"}\n")
    }

    /// The answer to `/ready`: 200, or 503 with each dependency and why it fails.
    package func readiness() -> HealthResponse {
        let contents = contents.withLock { $0 }
        var isReady = !contents.isShuttingDown
        var list = ""
        for (name, state) in contents.dependencies.sorted(by: { $0.key < $1.key }) {
            if !list.isEmpty { list += "," }
            JSONText.append(name, to: &list)
            switch state {
            case .ready:
                list += ":{\"status\":\"ready\"}"
            case .failing(let reason):
                isReady = false
                list += ":{\"status\":\"failing\",\"reason\":\(JSONText.literal(reason))}"
            }
        }
        let status =
            contents.isShuttingDown ? "shutting down" : (isReady ? "ready" : "failing")
        return HealthResponse(
            status: isReady ? 200 : 503,
            body: "{\"status\":\"\(status)\",\"dependencies\":{\(list)}}\n")
    }
}

/// An HTTP answer about health, for any server to send.
package struct HealthResponse: Sendable, Equatable {
    package static let contentType = "application/json"

    /// The HTTP status: 200 or 503.
    package var status: Int
    /// A JSON object.
    package var body: String
}
