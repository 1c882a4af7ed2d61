internal import Glibc
internal import Logging
internal import ServiceLifecycle
internal import Synchronization

/// What of a program is running, and its way down.
final class Lifecycle: Sendable {
    private struct State {
        /// Parts that were asked to end and have not, in the order in which they were asked.
        var ending: [String] = []
        var addedServiceCount = 0
        var isShuttingDown = false
        var failure: (any Error)?
    }

    private let state = Mutex(State())
    private let group: ServiceGroup
    private let health: HealthRegistry
    private let signals: SignalWatch
    private let shutdownTimeout: Duration
    private let logger: Logger

    init(
        group: ServiceGroup, health: HealthRegistry, signals: SignalWatch,
        shutdownTimeout: Duration, logger: Logger
    ) {
        self.group = group
        self.health = health
        self.signals = signals
        self.shutdownTimeout = shutdownTimeout
        self.logger = logger
    }

    /// Whether a shutdown has begun.
    var isShuttingDown: Bool { state.withLock(\.isShuttingDown) }

    /// The first error that ended a part.
    var failure: (any Error)? { state.withLock(\.failure) }

    /// Begins a graceful shutdown, once; its time is limited from here on.
    ///
    /// - Returns: False if one had begun before.
    @discardableResult
    func beginShutdown(because reason: String) -> Bool {
        let isFirst = state.withLock { state in
            defer { state.isShuttingDown = true }
            return !state.isShuttingDown
        }
        guard isFirst else { return false }
        logger.notice("shutting down", metadata: ["reason": "\(reason)"])
        health.beginShutdown()
        signals.after(shutdownTimeout) { self.giveUp() }
        Task { await group.triggerGracefulShutdown() }
        return true
    }

    /// Runs a part of the program as a service; see ``ServiceContext/add(_:_:)``.
    func add(_ name: String, run body: @escaping @Sendable () async throws -> Void) async {
        state.withLock { $0.addedServiceCount += 1 }
        await addOwn(name, run: body)
    }

    /// Runs a part that every program has, and that does not keep it alive.
    func addOwn(_ name: String, run body: @escaping @Sendable () async throws -> Void) async {
        await start(name) {
            try await body()
            guard self.isShuttingDown else {
                throw ProgramFailure(.failure, "\(name) ended although no shutdown was asked for")
            }
        }
    }

    /// Runs the program itself, which is done when it returns without having added a service.
    func addProgram(
        _ name: String, run body: @escaping @Sendable () async throws -> Void
    ) async {
        await start(name) {
            try await body()
            if self.state.withLock(\.addedServiceCount) == 0 {
                self.beginShutdown(because: "done")
            }
        }
    }

    private func start(_ name: String, _ body: @escaping @Sendable () async throws -> Void) async {
        let service = SupervisedService { try await self.supervise(name, body) }
        await group.addServiceUnlessShutdown(
            ServiceGroupConfiguration.ServiceConfiguration(
                service: service, successTerminationBehavior: .gracefullyShutdownGroup,
                failureTerminationBehavior: .gracefullyShutdownGroup, serviceName: name))
    }

    private func supervise(_ name: String, _ body: () async throws -> Void) async throws {
        defer { state.withLock { $0.ending.removeAll { $0 == name } } }
        do {
            try await withGracefulShutdownHandler {
                try await body()
            } onGracefulShutdown: {
                self.state.withLock { $0.ending.append(name) }
            }
        } catch is CancellationError where isShuttingDown {
            // What a cancelled wait throws on the way down is no failure.
        } catch {
            logger.error("\(name) failed: \(error)")
            state.withLock { $0.failure = $0.failure ?? error }
            beginShutdown(because: "\(name) failed")
            throw error
        }
        // A group cancels everything if a service returns while another one is being shut down, so
        // a part that is done early waits for its turn.
        try? await gracefulShutdown()
    }

    private func giveUp() {
        let hung = state.withLock(\.ending).joined(separator: ", ")
        logger.critical(
            "the shutdown took longer than allowed; ending now",
            metadata: [
                "limit": "\(UnitText.text(of: shutdownTimeout))",
                "hung": "\(hung.isEmpty ? "the runtime" : hung)",
            ])
        // Not exit(3): what hangs might hold a lock that an exit handler needs.
        _exit(ExitCode.shutdownTimeout.rawValue)
    }
}

/// A closure as a service.
private struct SupervisedService: Service {
    let body: @Sendable () async throws -> Void

    func run() async throws { try await body() }
}
