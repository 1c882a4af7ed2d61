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
    private let inForce: Mutex<ProbeConfiguration>
    private let clientID: Name
    private let session: UniqueID
    private let token: TokenSource
    private let resolver = Resolver()
    private let dialer: Dialer
    private let measuring: ProbeStop
    private let delivering: ProbeStop
    private let keeping: ProbeStop
    private let conductor: Conductor
    private let logger: Logger

    /// What the probe has done.
    package let counters = ProbeCounters()
    /// What waits for delivery.
    package let spool: Spool
    /// Whether the fleet was told to measure nothing.
    package let suppression = Suppression()
    /// Ingest's time.
    package let clock: ReferenceClock

    /// How long the last posts may take after a stop.
    private static let lastPostsTimeout = Duration.seconds(5)

    /// A probe that is ready to run, once.
    ///
    /// - Throws: ``ProbeError`` when a file of the configuration cannot be used.
    package init(_ configuration: ProbeConfiguration, logger: Logger) throws(ProbeError) {
        inForce = Mutex(configuration)
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
        do throws(TransportError) {
            dialer = Dialer(
                resolver: resolver,
                tls: try TLSContext.client(authorityFile: configuration.authorityFile))
            measuring = try ProbeStop()
            delivering = try ProbeStop()
            keeping = try ProbeStop()
            conductor = try Conductor(
                configuration.plan, client: clientID,
                runner: MeasurementRunner(
                    dialer: dialer,
                    numbering: EventNumbering(
                        clientID: clientID, session: session, resolver: ResolverAddress(),
                        spool: spool, clock: clock),
                    counters: counters, logger: logger),
                suppression: suppression, trafficFile: TrafficFile(stateFolder: stateFolder),
                counters: counters)
        } catch {
            throw ProbeError(error.message)
        }
    }

    /// Measurements under way.
    package var measurementsInFlight: Int { conductor.inFlight }

    /// Lookups that the system's resolver has not answered.
    package var lookupsOpen: Int { resolver.openLookups }

    /// Takes over of a new configuration what can change while the probe runs: the plan and the labels; and
    /// reads the token's file again. The spool, the session and its numbers, the rhythm of targets that stay and
    /// measurements under way are not touched.
    package func adopt(_ new: ProbeConfiguration) {
        if token.reload() { logger.info("the token was replaced") }
        inForce.withLock {
            $0.plan = new.plan
            $0.labels = new.labels
        }
        conductor.adopt(new.plan)
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
            self.conductor.stop()
        }
        // What is left of the thread is its own return, so this does not hold a task's thread up.
        overseer.withLock { $0 }?.join()
    }

    private func oversee() {
        let targetCount = inForce.withLock(\.plan.targets.count)
        logger.notice(
            "measuring",
            metadata: [
                "client": "\(clientID)", "session": "\(session)", "targets": "\(targetCount)",
            ])
        if token.isReadableByOthers {
            logger.warning("others can read the token's file; chmod 600 it")
        }
        let keeper = OwnedThread(name: "spool") { [self] in
            spool.keep(until: keeping, clock: clock)
        }
        let isReady = Monitor(false)
        let isDelivered = Monitor(false)
        let deliverer = OwnedThread(name: "deliver") { [self] in
            deliver { isReady.update { $0 = true } }
            isDelivered.update { $0 = true }
        }
        // What is in the spool by then is an earlier run's, and waits behind what is measured now.
        _ = isReady.wait(until: nil) { $0 ? true : nil }
        let reporter = OwnedThread(name: "heartbeat") { [self] in reportHeartbeats() }
        // Ends with the last measurement, so what was just measured is in the last posts.
        conductor.run()
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

    /// - Parameter ready: Called when what the spool held at the start is known.
    private func deliver(_ ready: () -> Void) {
        let configuration = inForce.withLock(\.self)
        let synchroniser = TimeSynchroniser(
            servers: configuration.servers, clock: clock, token: token, counters: counters,
            logger: logger)
        let delivery = Delivery(
            servers: configuration.servers, spool: spool, dialer: dialer, token: token,
            userAgent: Product.userAgent, pace: configuration.pace, reference: clock,
            synchroniser: synchroniser, suppression: suppression, counters: counters, logger: logger
        )
        ready()
        delivery.run(until: delivering, hardStop: delivering.interrupt)
    }

    private func reportHeartbeats() {
        let reporter = HeartbeatReporter(
            servers: inForce.withLock(\.servers), base: baseOfHeartbeat, spool: spool,
            clock: clock, dialer: dialer, token: token, userAgent: Product.userAgent,
            suppression: suppression, counters: counters, logger: logger)
        reporter.run(until: measuring)
    }

    private func baseOfHeartbeat() -> Heartbeat {
        let configuration = inForce.withLock(\.self)
        var heartbeat = Heartbeat(clientID: clientID, sentAtMilliseconds: 0)
        heartbeat.session = session
        heartbeat.version = Product.version
        heartbeat.hostname = ProcessUsage.hostname()
        heartbeat.labels = configuration.labels.isEmpty ? nil : configuration.labels
        // Asked each time: the permission may be given while the probe runs.
        heartbeat.capabilities = Target.schemes(.current())
        heartbeat.configurationHash = configuration.fingerprint
        heartbeat.activeTargets = Int64(configuration.plan.targets.count)
        return heartbeat
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
