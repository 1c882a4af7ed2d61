package import Transport

/// Measures targets of every kind.
package struct Meters: Sendable {
    private let http: HTTPMeter
    private let transfer: TransferMeter
    private let loaded: LoadedMeter
    private let timeout: Duration

    /// - Parameters:
    ///   - timeout: For the whole of one measurement, where the target does not set its own.
    ///   - bodyBytesMax: The byte budget of one GET.
    package init(
        dialer: Dialer, timeout: Duration, bodyBytesMax: Int, userAgent: String
    ) {
        self.timeout = timeout
        http = HTTPMeter(dialer: dialer, bodyBytesMax: bodyBytesMax, userAgent: userAgent)
        transfer = TransferMeter(dialer: dialer, userAgent: userAgent)
        loaded = LoadedMeter(dialer: dialer, userAgent: userAgent)
    }

    /// Measures `target` once; returns within its timeout whatever the network does.
    package func measure(_ target: Target, interrupt: Interrupt? = nil) -> MeasurementOutcome {
        let patience = Patience(for: target.timeout ?? timeout, interrupt: interrupt)
        return switch target.method {
        case .http(let page): http.measure(page, patience)
        case .transfer(let target): transfer.measure(target, patience)
        case .loaded(let target): loaded.measure(target, patience)
        case .dns, .tcp, .echo, .firstHop:
            .notMeasured(reason: "this kind of target cannot be measured yet")
        }
    }
}
