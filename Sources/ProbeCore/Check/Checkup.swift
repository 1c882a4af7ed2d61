internal import Telemetry
internal import Logging
internal import Transport

/// Tests all between this probe and ingest, and what it measures, without disturbing a probe that runs.
package struct Checkup: Sendable {
    private let configuration: ProbeConfiguration
    private let environment: [String: String]
    private let postsEvents: Bool

    /// How a client is called that has no name yet.
    static let namelessClient: Name = "probe-check"

    /// - Parameters:
    ///   - environment: The variables of the probe.
    ///   - postsEvents: Whether ingest is to store an event and a heartbeat of the check.
    package init(
        _ configuration: ProbeConfiguration, environment: [String: String], postsEvents: Bool
    ) {
        self.configuration = configuration
        self.environment = environment
        self.postsEvents = postsEvents
    }

    /// Runs all checks; each is told as soon as it and those before it are done.
    package func run(_ tell: (CheckFinding) -> Void) {
        let plan = configuration.plan
        let folder = configuration.stateFolder ?? ClientIdentity.defaultStateFolder()
        let state = StateFolderCheck(folder)
        tell(state.finding)
        tell(
            timed {
                DiskCheck.run(
                    state.place, spoolFolder: (folder ?? "") + "/spool",
                    limits: configuration.spool)
            })
        let (tokenFinding, token) = TokenCheck.run(configuration)
        tell(tokenFinding)

        let resolver = Resolver()
        defer { resolver.shutDown() }
        let tls: TLSContext
        do throws(TransportError) {
            tls = try TLSContext.client(authorityFile: configuration.authorityFile)
        } catch {
            tell(
                .failed(
                    "ca-file", error.message,
                    "name a readable PEM file with at least one certificate; nothing else was"
                        + " checked"))
            return
        }
        let dialer = Dialer(resolver: resolver, tls: tls)
        let watch = CheckWatch()
        defer { watch.stop() }
        let clocks = configuration.servers.map { _ in
            ReferenceClock(
                stateFolder: nil, counters: ProbeCounters(),
                logger: Logger(label: "check") { _ in SwiftLogNoOpLogHandler() })
        }
        let posting = posting(isRunning: state.isHeld, folder)
        let timeout = plan.timeout

        var bodies: [CheckWorkers.Body] = zip(configuration.servers, clocks).map { server, clock in
            {
                IngestCheck(
                    server, dialer: dialer, authorityFile: configuration.authorityFile,
                    token: token, clock: clock, posting: posting, timeout: timeout
                ).run()
            }
        }
        let serverCount = bodies.count
        bodies += names.map { name in
            { [timed { name.run(resolver, Patience(for: timeout)) }] }
        }
        let nameCount = bodies.count - serverCount
        bodies.append {
            [
                timed {
                    (try? watch.run(within: timeout) { FirstHopCheck.run($0.interrupt) })
                        ?? .skipped(FirstHopCheck.name, "the system has no descriptors left")
                }
            ]
        }
        let meters = Meters(
            dialer: dialer, timeout: timeout, bodyBytesMax: plan.bodyBytesMax,
            userAgent: Product.userAgent)
        let light = plan.targets.filter { !$0.fillsLink }
        bodies += light.map { target in
            { [timed { TargetCheck(target: target, timeout: timeout).run(meters, watch) }] }
        }
        let workers = CheckWorkers(bodies)
        defer { workers.finish() }

        for index in 0..<serverCount { _ = workers.findings(of: index) }
        let clock = clocks.first { $0.reading().estimate != nil } ?? clocks.first
        if let clock { tell(ClockCheck.finding(clock.reading())) }
        for index in 0..<nameCount { workers.findings(of: serverCount + index).forEach(tell) }
        for index in 0..<serverCount { workers.findings(of: index).forEach(tell) }
        EchoCheck.findings(.current(), plan.targets).forEach(tell)
        workers.findings(of: serverCount + nameCount).forEach(tell)
        for index in light.indices {
            workers.findings(of: serverCount + nameCount + 1 + index).forEach(tell)
        }
        // One after the other, and alone: they would spoil each other, and everything else.
        for target in plan.targets where target.fillsLink {
            guard !state.isHeld else {
                tell(
                    .skipped(
                        TargetCheck.name, of: target.name.text,
                        "a transfer would spoil what the running probe measures"))
                continue
            }
            tell(timed { TargetCheck(target: target, timeout: timeout).run(meters, watch) })
        }
        tell(OpenFilesCheck.run(inFlightMax: plan.inFlightMax))
        tell(ProxyCheck.run(environment))
        tell(IPv6Check.run(plan.targets))
    }

    /// The names to look up, each once, ingest's first.
    private var names: [NameCheck] {
        var checks: [NameCheck] = []
        func add(_ host: String?, isIngest: Bool) {
            guard let host, SocketAddress(literal: host, port: 0) == nil,
                !checks.contains(where: { $0.host == host })
            else { return }
            checks.append(NameCheck(host: host, isIngest: isIngest))
        }
        for server in configuration.servers { add(server.host, isIngest: true) }
        for target in configuration.plan.targets { add(target.host, isIngest: false) }
        return checks
    }

    private func posting(isRunning: Bool, _ folder: String?) -> IngestCheck.Posting {
        var generator = SystemRandomNumberGenerator()
        let kept = folder.flatMap { ClientIdentity.knownName(in: $0) }
        let objection = postsEvents ? nil : "left out by --no-event"
        return IngestCheck.Posting(
            clientID: configuration.clientID ?? kept ?? Self.namelessClient,
            session: .random(using: &generator), eventID: .random(using: &generator),
            context: configuration.plan.context, eventObjection: objection,
            heartbeatObjection: objection
                ?? (isRunning ? "the running probe sends its own" : nil))
    }
}
