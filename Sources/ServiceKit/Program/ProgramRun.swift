internal import CoreMetrics
internal import Glibc
internal import Logging
internal import ServiceLifecycle

/// One run of a program, from valid settings to its exit code.
struct ProgramRun {
    private let program: Program
    private let settings: Settings
    private let logOutput: LogOutput
    private let logger: Logger
    private let metrics = PrometheusRegistry()
    private let health: HealthRegistry
    private let signals = SignalWatch()
    private let group: ServiceGroup
    private let lifecycle: Lifecycle
    private let reloads: Reloads

    /// Sets up what is global in a process, so it can be called once only.
    init(program: Program, settings: Settings, loader: SettingsLoader) {
        self.program = program
        self.settings = settings
        let format = settings.optionalString(SharedSettings.logFormat.name)
        let output = LogOutput(
            format: format.flatMap(LogFormat.init) ?? .byTerminal, level: Self.level(in: settings))
        LoggingSystem.bootstrap(
            { LineLogHandler(label: $0, output: output, metadataProvider: $1) },
            metadataProvider: nil)
        MetricsSystem.bootstrap(metrics)
        logOutput = output
        logger = Logger(label: program.name)
        health = HealthRegistry(dependencies: program.dependencies)
        group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [ServiceGroupConfiguration.ServiceConfiguration](),
                logger: Logger(label: "\(program.name).lifecycle")))
        lifecycle = Lifecycle(
            group: group, health: health, signals: signals,
            shutdownTimeout: settings.duration(SharedSettings.shutdownTimeout.name),
            logger: logger)
        reloads = Reloads(
            program: program.name, settings: settings, loader: loader, logger: logger,
            metrics: metrics)
    }

    func run() async -> ExitCode {
        logger.notice(
            "starting",
            metadata: ["version": "\(Build.version)", "pid": .stringConvertible(getpid())])
        addOwnMetrics()
        reloads.add(SharedSettings.logLevel.name) { [logOutput] settings in
            logOutput.level = Self.level(in: settings)
        }
        watchSignals()
        do {
            let context = try await start()
            await lifecycle.addProgram(program.name) { [program] in
                try await cancelWhenGracefulShutdown { try await program.run(context) }
            }
            try await group.run()
        } catch {
            return end(with: lifecycle.failure ?? error)
        }
        if let failure = lifecycle.failure { return end(with: failure) }
        logger.notice("stopped")
        return .success
    }

    /// Starts what every program has.
    private func start() async throws -> ServiceContext {
        let address = settings.optionalAddress(SharedSettings.metricsListenName)
        let metricsListeners = address == nil ? [] : ["metrics"]
        let context = ServiceContext(
            program: program.name, settings: settings, logger: logger, metrics: metrics,
            health: health, lifecycle: lifecycle, reloads: reloads,
            portFile: PortFile(
                path: settings.optionalPath(SharedSettings.portFile.name),
                listeners: metricsListeners + program.listeners.map(\.name)))
        if let address {
            let server = try await MetricsServer.start(
                on: address, setting: SharedSettings.metricsListenName, health: health,
                metrics: metrics)
            await lifecycle.addOwn("metrics server") { try await server.run() }
            try context.announce(listener: "metrics", address: server.address)
        }
        await lifecycle.addOwn("reloads") { [reloads] in
            await cancelWhenGracefulShutdown { await reloads.serve() }
        }
        return context
    }

    private func watchSignals() {
        signals.on([SIGTERM, SIGINT]) { [lifecycle, logger] number in
            let name = number == SIGINT ? "SIGINT" : "SIGTERM"
            if lifecycle.beginShutdown(because: name) { return }
            logger.critical("second signal during the shutdown; ending now: \(name)")
            _exit(ExitCode.signal(number).rawValue)
        }
        signals.on([SIGHUP]) { [reloads] _ in reloads.request() }
    }

    private func addOwnMetrics() {
        metrics.addProcessMetrics(program: program.name)
        metrics.counter(
            "qoe_\(program.name)_log_lines_lost_total",
            help: "Log lines that could not be written."
        ) { [logOutput] in Double(logOutput.lostLineCount) }
        health.publish(to: metrics, program: program.name)
    }

    private func end(with error: any Error) -> ExitCode {
        let code: ExitCode =
            switch error {
            case let failure as ProgramFailure: failure.exitCode
            case is ConfigurationError: .configuration
            default: .failure
            }
        logger.critical("\(error)", metadata: ["exit-code": .stringConvertible(code.rawValue)])
        return code
    }

    private static func level(in settings: Settings) -> Logger.Level {
        Logger.Level(rawValue: settings.string(SharedSettings.logLevel.name)) ?? .info
    }
}
