package import Transport

/// Measures targets of every kind.
package struct Meters: Sendable {
    private let http: HTTPMeter
    private let transfer: TransferMeter
    private let loaded: LoadedMeter
    private let dns: DNSMeter
    private let tcp: TCPMeter
    private let echo: EchoMeter
    private let firstHop: FirstHopMeter
    private let timeout: Duration
    private let traffic: TrafficCounter?

    /// - Parameters:
    ///   - firstHop: Remembers how the gateway answers, so it outlives the others.
    ///   - timeout: For the whole of one measurement, where the target does not set its own.
    ///   - bodyBytesMax: The byte budget of one GET.
    package init(
        dialer: Dialer, firstHop: FirstHopMeter = FirstHopMeter(), timeout: Duration,
        bodyBytesMax: Int, userAgent: String
    ) {
        self.timeout = timeout
        http = HTTPMeter(dialer: dialer, bodyBytesMax: bodyBytesMax, userAgent: userAgent)
        dns = DNSMeter(dialer: dialer)
        tcp = TCPMeter(dialer: dialer)
        echo = EchoMeter(dialer: dialer)
        self.firstHop = firstHop
        traffic = dialer.traffic
        transfer = TransferMeter(dialer: dialer, userAgent: userAgent)
        loaded = LoadedMeter(dialer: dialer, userAgent: userAgent)
    }

    /// Measures `target` once; returns within its timeout whatever the network does.
    ///
    /// A train of packets takes its own time, by its options; the timeout is then for the lookup alone. A
    /// transfer's own time is added to the timeout, unless the target sets one, which is then for the whole.
    package func measure(_ target: Target, interrupt: Interrupt? = nil) -> MeasurementOutcome {
        let patience = Patience(for: target.timeout ?? timeout, interrupt: interrupt)
        return switch target.method {
        case .http(let page): http.measure(page, patience)
        case .dns(let question): dns.measure(question, patience)
        case .tcp(let port): tcp.measure(port, patience)
        case .echo(let host): echo.measure(host, lookup: patience)
        case .firstHop(let gateway): firstHop.measure(gateway, interrupt, countingIn: traffic)
        case .transfer(let load):
            transfer.measure(load, self.patience(for: target, load.budget, interrupt))
        case .loaded(let load):
            loaded.measure(load, self.patience(for: target, load.budget, interrupt))
        }
    }

    private func patience(
        for target: Target, _ budget: TransferBudget, _ interrupt: Interrupt?
    ) -> Patience {
        Patience(for: target.timeout ?? timeout + budget.duration, interrupt: interrupt)
    }
}
