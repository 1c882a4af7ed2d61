package import Logging
package import ServiceLifecycle

/// What a running program is given: its settings and all that the skeleton keeps for it.
package struct ServiceContext: Sendable {
    /// The program's name.
    package let program: String
    package let settings: Settings
    package let logger: Logger
    /// Pass it to each part explicitly; the global metrics system is the same one.
    package let metrics: PrometheusRegistry
    package let health: HealthRegistry

    let lifecycle: Lifecycle
    let reloads: Reloads
    let portFile: PortFile

    /// A logger with its own label, such as `ingest.publisher`.
    package func logger(_ part: String) -> Logger { Logger(label: "\(program).\(part)") }

    /// Runs a service until the program shuts down.
    ///
    /// On shutdown, services are asked to end one by one, the last added first, each when the one
    /// after it has ended: add what others need before them. A service that throws ends the
    /// program, gracefully for the others; so does one that returns before a shutdown. While a
    /// shutdown is under way nothing is started any more.
    ///
    /// - Parameter name: What to call it if it fails or hangs.
    package func add(_ name: String, _ service: any Service) async {
        await lifecycle.add(name) { try await service.run() }
    }

    /// Runs a closure as a service; see ``add(_:_:)``. It must return upon a graceful shutdown,
    /// for example with `cancelWhenGracefulShutdown`.
    package func add(_ name: String, run body: @escaping @Sendable () async throws -> Void) async {
        await lifecycle.add(name, run: body)
    }

    /// Calls `hook` with the new settings on each SIGHUP, after they were found valid.
    ///
    /// Hooks are called one after the other. One that throws keeps what it had; that is logged,
    /// and shown in `qoe_<program>_reloads_total` and `qoe_<program>_last_reload_successful`.
    ///
    /// - Parameter name: What is reloaded, such as `tokens`.
    package func onReload(
        _ name: String, _ hook: @escaping @Sendable (Settings) async throws -> Void
    ) {
        reloads.add(name, hook)
    }

    /// Tells that a listener is bound, for the log and the port file.
    ///
    /// - Parameter listener: One of the program's declared listeners.
    /// - Throws: If the port file cannot be written.
    package func announce(listener: String, address: NetworkAddress) throws(ProgramFailure) {
        logger.notice("listening", metadata: ["listener": "\(listener)", "address": "\(address)"])
        try portFile.announce(listener, address)
    }

    /// Whether a shutdown has begun.
    package var isShuttingDown: Bool { lifecycle.isShuttingDown }
}
