internal import Synchronization
package import Telemetry

/// Turns measurements into events: identified, numbered and encoded once.
///
/// Safe to call from any thread. Events enter the spool in the order of their numbers, so the
/// receiver's ledger of a session stays one interval.
package final class EventNumbering: Sendable {
    package let session: UniqueID
    private let clientID: Name
    private let context: NetworkContext
    private let resolver: ResolverAddress
    private let spool: Spool
    private let clock: ReferenceClock
    private let lastNumber = Mutex<UInt64>(0)

    /// - Parameter context: What is configured about the network; the source address and the resolver are
    ///   filled in where they are measured.
    package init(
        clientID: Name, session: UniqueID, context: NetworkContext, resolver: ResolverAddress,
        spool: Spool, clock: ReferenceClock
    ) {
        self.clientID = clientID
        self.session = session
        self.context = context
        self.resolver = resolver
        self.spool = spool
        self.clock = clock
    }

    /// The event of a measurement, with a new identifier.
    private func event(
        _ measurement: Measurement, of target: Name, number: UInt64, at milliseconds: Int64
    ) -> Event {
        var context = context
        context.sourceIP = measurement.sourceAddress.map { Name($0) }
        context.resolver = resolver.current.map { Name($0) }
        var generator = SystemRandomNumberGenerator()
        return Event(
            id: .random(using: &generator), clientID: clientID, target: target,
            measuredAtMilliseconds: milliseconds, context: context,
            metrics: measurement.metrics, errorStage: measurement.failure?.stage,
            sequence: SessionSequence(session: session, number: number))
    }

    /// Numbers a measurement that has just ended and puts its event into the spool.
    package func add(_ measurement: Measurement, of target: Name) {
        let reading = clock.reading()
        let (time, correction) = reading.time(of: measurement.startedAt)
        let wasStepped =
            WallClockWatch.step(from: measurement.startedAt, to: reading.moment) != nil
        lastNumber.withLock { last in
            last += 1
            let event = event(measurement, of: target, number: last, at: time.milliseconds)
            spool.append(
                SpooledEvent(
                    session: session, number: last, time: time,
                    json: event.json(correction, clockWasStepped: wasStepped)))
        }
    }
}
