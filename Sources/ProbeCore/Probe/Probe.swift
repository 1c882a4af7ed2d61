package import Logging
internal import OwnedThreads
internal import ServiceLifecycle
internal import Synchronization
internal import Telemetry
internal import Transport

/// A probe: measures its targets by schedule and delivers what it finds.
///
/// Every part runs on threads of the probe's own: one that schedules and oversees, one that keeps the spool, one
/// that delivers, one for heartbeats, and bounded pools that measure and look names up.
package final class Probe: Service {
    private let configuration: ProbeConfiguration
    private let clientID: Name
    private let session: UniqueID
    private let token: TokenSource
    private let resolver = Resolver()
    private let dialer: Dialer
    private let measuring: ProbeStop
    private let delivering: ProbeStop
    private let keeping: ProbeStop
    private let pool: WorkerPool
    private let logger: Logger

    /// What the probe has done.
    package let counters = ProbeCounters()
    /// What waits for delivery.
    package let spool: Spool
    /// Ingest's time.
    package let clock: ReferenceClock

    /// How long the last posts may take after a stop.
    private static let lastPostsTimeout = Duration.seconds(5)

    /// A probe that is ready to run, once.
    ///
    /// - Throws: ``ProbeError`` when a file of the configuration cannot be used.
    package init(_ configuration: ProbeConfiguration, logger: Logger) throws(ProbeError) {
        self.configuration = configuration
        self.logger = logger
        let stateFolder = configuration.stateFolder ?? ClientIdentity.defaultStateFolder()
        guard let stateFolder else {
            throw ProbeError("there is no folder for what must outlive the probe; set --state-dir")
        }
        // First of all, as it holds the lock of the folder.
        do throws(FileProblem) {
            spool = try Spool(
                stateFolder: stateFolder, limits: configuration.spool, logger: logger)
        } catch {
            throw ProbeError("\(error); --state-dir names the folder")
        }
        clock = ReferenceClock(stateFolder: stateFolder, counters: counters, logger: logger)
        clientID = try Self.clientID(configuration, stateFolder)
        token = try Self.token(configuration)
        var generator = SystemRandomNumberGenerator()
        session = .random(using: &generator)
        pool = WorkerPool(threadsMax: configuration.inFlightMax)
        do throws(TransportError) {
            dialer = Dialer(
                resolver: resolver,
                tls: try TLSContext.client(authorityFile: configuration.authorityFile))
            measuring = try ProbeStop()
            delivering = try ProbeStop()
            keeping = try ProbeStop()
        } catch {
            throw ProbeError(error.message)
        }
    }

    /// Measurements under way.
    package var measurementsInFlight: Int { pool.busy }

    /// Lookups that the system's resolver has not answered.
    package var lookupsOpen: Int { resolver.openLookups }

    /// Reads the token's file again, if there is one.
    package func reloadToken() {
        if token.reload() { logger.info("the token was replaced") }
    }

    /// Measures and delivers until the service group shuts down or the task is cancelled.
    package func run() async {
        let overseer = Mutex<OwnedThread?>(nil)
        await withTaskCancellationOrGracefulShutdownHandler {
            await withCheckedContinuation { continuation in
                let thread = OwnedThread(name: "probe") { [self] in
                    oversee()
                    continuation.resume()
                }
                overseer.withLock { $0 = thread }
            }
        } onCancelOrGracefulShutdown: {
            self.measuring.trigger()
        }
        // What is left of the thread is its own return, so this does not hold a task's thread up.
        overseer.withLock { $0 }?.join()
    }

    private func oversee() {
        logger.notice(
            "measuring",
            metadata: [
                "client": "\(clientID)", "session": "\(session)",
                "targets": "\(configuration.targets.count)",
            ])
        if token.isReadableByOthers {
            logger.warning("others can read the token's file; chmod 600 it")
        }
        let keeper = OwnedThread(name: "spool") { [self] in
            spool.keep(until: keeping, clock: clock)
        }
        let isDelivered = Monitor(false)
        let deliverer = OwnedThread(name: "deliver") { [self] in
            deliver()
            isDelivered.update { $0 = true }
        }
        let reporter = OwnedThread(name: "heartbeat") { [self] in reportHeartbeats() }
        measure()
        // In this order, so that what was just measured is in the last posts.
        pool.shutDown()
        delivering.announce()
        _ = isDelivered.wait(until: .now + Self.lastPostsTimeout) { $0 ? true : nil }
        delivering.trigger()
        deliverer.join()
        reporter.join()
        // Last, so that all that was measured and not delivered is on disk.
        keeping.trigger()
        keeper.join()
        resolver.shutDown()
    }

    private func measure() {
        let numbering = EventNumbering(
            clientID: clientID, session: session, context: configuration.context,
            resolver: ResolverAddress(), spool: spool, clock: clock)
        let targets = configuration.targets
        let runner = MeasurementRunner(
            meters: Meters(
                dialer: dialer, timeout: configuration.timeout,
                bodyBytesMax: configuration.bodyBytesMax, userAgent: Product.userAgent),
            numbering: numbering, counters: counters, interrupt: measuring.interrupt,
            logger: logger)
        var schedule = Schedule(
            targets: targets.map(\.name), every: configuration.interval, client: clientID,
            now: .now(), wallMilliseconds: WallClock.nowMilliseconds())
        guard schedule.nextDue != nil else { return measuring.wait() }
        while let next = schedule.nextDue, !measuring.sleep(until: next) {
            for due in schedule.takeDue(at: .now()) {
                counters.slotsMissed.add(Int(clamping: due.missed))
                let target = targets[due.target]
                if !pool.run({ runner.run(target) }) {
                    counters.slotsSkipped.add()
                    counters.lastError = "too many measurements at once; raise --max-in-flight"
                }
            }
        }
    }

    private func deliver() {
        let synchroniser = TimeSynchroniser(
            servers: configuration.servers, clock: clock, token: token, counters: counters,
            logger: logger)
        let delivery = Delivery(
            servers: configuration.servers, spool: spool, dialer: dialer, token: token,
            userAgent: Product.userAgent, pace: configuration.pace, reference: clock,
            synchroniser: synchroniser, counters: counters, logger: logger)
        delivery.run(until: delivering, hardStop: delivering.interrupt)
    }

    private func reportHeartbeats() {
        var constant = Heartbeat(clientID: clientID, sentAtMilliseconds: 0)
        constant.session = session
        constant.version = Product.version
        constant.hostname = ProcessUsage.hostname()
        constant.labels = configuration.labels.isEmpty ? nil : configuration.labels
        constant.capabilities = ["http", "https"]
        constant.configurationHash = configuration.fingerprint
        constant.activeTargets = Int64(configuration.targets.count)
        let reporter = HeartbeatReporter(
            servers: configuration.servers, constant: constant, spool: spool, clock: clock,
            dialer: dialer, token: token, userAgent: Product.userAgent, counters: counters,
            logger: logger)
        reporter.run(until: measuring)
    }

    private static func clientID(
        _ configuration: ProbeConfiguration, _ stateFolder: String
    ) throws(ProbeError) -> Name {
        if let given = configuration.clientID { return given }
        do throws(FileProblem) { return try ClientIdentity.keptName(in: stateFolder) } catch {
            throw ProbeError("\(error); set --state-dir or --client-id")
        }
    }

    private static func token(
        _ configuration: ProbeConfiguration
    ) throws(ProbeError) -> TokenSource {
        do throws(FileProblem) {
            if let file = configuration.tokenFile { return try TokenSource(file: file) }
            return try TokenSource(text: configuration.token)
        } catch {
            throw ProbeError("\(error)")
        }
    }
}

/// Why a probe cannot start.
package struct ProbeError: Error, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}
