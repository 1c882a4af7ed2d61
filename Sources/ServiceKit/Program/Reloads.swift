internal import CoreMetrics
internal import Logging
internal import Synchronization

/// Reads the configuration anew on SIGHUP and hands it to whoever asked for it.
final class Reloads: Sendable {
    typealias Hook = @Sendable (Settings) async throws -> Void

    private struct State {
        var settings: Settings
        var hooks: [(name: String, hook: Hook)] = []
    }

    private let state: Mutex<State>
    private let loader: SettingsLoader
    private let logger: Logger
    private let succeeded: Counter
    private let failed: Counter
    private let lastSucceeded: Meter
    /// One request that waits is enough: it reads whatever is there by then.
    private let requests = AsyncStream.makeStream(
        of: Void.self, bufferingPolicy: .bufferingNewest(1))

    init(
        program: String, settings: Settings, loader: SettingsLoader, logger: Logger,
        metrics: PrometheusRegistry
    ) {
        state = Mutex(State(settings: settings))
        self.loader = loader
        self.logger = logger
        let name = "qoe_\(program)_reloads_total"
        let help = "Times that SIGHUP had the configuration read again, by result."
        succeeded = metrics.counter(name, help: help, labels: [("result", "ok")])
        failed = metrics.counter(name, help: help, labels: [("result", "failed")])
        lastSucceeded = metrics.gauge(
            "qoe_\(program)_last_reload_successful",
            help: "Whether the last reload was taken over; 0 means the old configuration is kept.")
        lastSucceeded.set(1)
    }

    func add(_ name: String, _ hook: @escaping Hook) {
        state.withLock { $0.hooks.append((name, hook)) }
    }

    /// Asks for a reload; ``serve()`` performs it.
    func request() { requests.continuation.yield() }

    /// Performs reloads, one after the other, until the task is cancelled.
    func serve() async {
        for await _ in requests.stream { await reload() }
    }

    private func reload() async {
        let result = loader.load()
        guard let new = result.settings else {
            for problem in result.problems { logger.error("\(problem)") }
            finish(isSuccess: false)
            return
        }
        let (old, hooks) = state.withLock { ($0.settings, $0.hooks) }
        let changed = new.names(differingFrom: old)
        for name in changed where !new.isReloadable(name) {
            logger.warning("the new value of \(name) takes effect after a restart")
        }
        var isSuccess = true
        for (name, hook) in hooks {
            do {
                try await hook(new)
            } catch {
                isSuccess = false
                logger.error("\(name) cannot be reloaded; the old one stays: \(error)")
            }
        }
        if isSuccess { state.withLock { $0.settings = new } }
        finish(isSuccess: isSuccess)
    }

    private func finish(isSuccess: Bool) {
        (isSuccess ? succeeded : failed).increment()
        lastSucceeded.set(isSuccess ? 1 : 0)
        if isSuccess {
            logger.notice("reloaded the configuration")
        } else {
            logger.error("did not reload: the old configuration stays in force")
        }
    }
}
