internal import Logging
internal import Telemetry
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
        runRemote(token, posting(isRunning: state.isHeld, folder), isRunning: state.isHeld, tell)
        tell(OpenFilesCheck.run(inFlightMax: configuration.plan.inFlightMax))
        tell(ProxyCheck.run(environment))
        tell(IPv6Check.run(configuration.plan.targets))
    }

    /// The checks that need the network.
    private func runRemote(
        _ token: TokenSource?, _ posting: IngestCheck.Posting, isRunning: Bool,
        _ tell: (CheckFinding) -> Void
    ) {
        let plan = configuration.plan
        let timeout = plan.timeout
        let resolver = Resolver()
        defer { resolver.shutDown() }
        let dialer: Dialer
        do throws(TransportError) {
            let tls = try TLSContext.client(authorityFile: configuration.authorityFile)
            dialer = Dialer(resolver: resolver, tls: tls)
        } catch {
            let advice =
                "name a PEM file with at least one certificate, readable by the probe's user; what"
                + " needs the network was not checked"
            return tell(.failed("ca-file", error.message, advice))
        }
        let watch = CheckWatch()
        defer { watch.stop() }
        let meters = Meters(
            dialer: dialer, timeout: timeout, bodyBytesMax: plan.bodyBytesMax,
            userAgent: Product.userAgent)
        let clocks = configuration.servers.map { _ in
            ReferenceClock(
                stateFolder: nil, counters: ProbeCounters(),
                logger: Logger(label: "check") { _ in SwiftLogNoOpLogHandler() })
        }
        let authorityFile = configuration.authorityFile
        let servers = zip(configuration.servers, clocks).map { server, clock in
            { @Sendable in
                IngestCheck(
                    server, dialer: dialer, authorityFile: authorityFile, token: token,
                    clock: clock, posting: posting, timeout: timeout
                ).run()
            }
        }
        let names = names.map { name in
            { @Sendable in [timed { name.run(resolver, Patience(for: timeout)) }] }
        }
        let firstHop = { @Sendable in [timed { FirstHopCheck.run(watch, timeout) }] }
        let targets = plan.targets.filter { !$0.fillsLink }.map { target in
            { @Sendable in
                [timed { TargetCheck(target: target, timeout: timeout).run(meters, watch) }]
            }
        }
        let workers = CheckWorkers([servers, names, [firstHop], targets])
        defer { workers.finish() }

        // What the servers say of their clocks comes before all else that they say.
        workers.tell(group: 0) { _ in }
        if let clock = clocks.first(where: { $0.reading().estimate != nil }) ?? clocks.first {
            tell(ClockCheck.finding(clock.reading()))
        }
        workers.tell(group: 1, tell)
        workers.tell(group: 0, tell)
        EchoCheck.findings(.current(), plan.targets).forEach(tell)
        workers.tell(group: 2, tell)
        workers.tell(group: 3, tell)
        // One after the other, and alone: they would spoil each other, and everything else.
        for target in plan.targets where target.fillsLink {
            let why = "a transfer would spoil what the running probe measures"
            tell(
                isRunning
                    ? .skipped(TargetCheck.name, of: target.name.text, why)
                    : timed { TargetCheck(target: target, timeout: timeout).run(meters, watch) })
        }
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
