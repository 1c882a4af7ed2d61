internal import Transport

/// Runs a transfer over several connections, on the calling thread.
struct TransferLoad {
    /// What came of it.
    struct Result: Sendable {
        enum End: Sendable {
            case time
            case bytes
            /// A connection had nothing more to transfer: the server closed it.
            case connection
        }

        /// When the clock began: all connections were there.
        let began: MonotonicInstant
        var ended: MonotonicInstant
        var end = End.time
        var series = RateSeries()
        var failure: TransferFailure?
        /// Round-trip times that the connections saw themselves, while they carried the load.
        var roundTrips: [(at: MonotonicInstant, roundTrip: Duration)] = []
        var answers = 0
        /// Of all connections; nil when the kernel does not tell.
        var retransmittedPercent: Double?
        var packetsOutOfOrder: Int?
        var minimumRoundTrip: Duration?
        var connections: Int
    }

    private static let bufferBytes = 64 * 1024
    /// How often connections are asked for their round-trip times.
    private static let roundTripInterval = Duration.milliseconds(100)
    /// How long the answers to uploads may take after the measurement.
    private static let answerPatience = Duration.seconds(2)

    private let direction: TransferTarget.Direction
    private let budget: TransferBudget
    private let streams: [TransferStream]
    private var buffer = [UInt8](repeating: 0, count: bufferBytes)

    init(
        _ direction: TransferTarget.Direction, _ budget: TransferBudget,
        _ connections: [Connection], to url: HTTPURL, userAgent: String
    ) {
        self.direction = direction
        self.budget = budget
        streams = connections.map {
            TransferStream($0, direction, url, userAgent: userAgent)
        }
        // Made before the clock begins.
        if direction == .upload { _ = UploadChunks.bytes }
    }

    /// Transfers until the time or the bytes are used up, a connection has ended, or something failed.
    ///
    /// - Parameter begun: Called when the clock begins.
    /// - Throws: ``TransportError`` when this machine cannot, or was stopped.
    mutating func run(
        _ patience: Patience, begun: (MonotonicInstant) -> Void = { _ in }
    ) throws(TransportError) -> Result {
        let start = MonotonicInstant.now()
        begun(start)
        var result = Result(began: start, ended: start, connections: streams.count)
        do throws(LoadEnd) {
            try transfer(patience, start, &result)
        } catch {
            switch error {
            case .stopped(let error): throw error
            case .failed(let failure): result.failure = failure
            }
        }
        result.ended = .now()
        result.series.add(bodyBytes, at: result.ended.since(start))
        summarize(&result)
        if direction == .upload, result.failure == nil {
            result.failure = try awaitAnswers(patience)
        }
        result.answers = streams.reduce(0) { $0 + $1.answers }
        return result
    }

    /// Why a transfer ends other than by its budget.
    private enum LoadEnd: Error {
        case stopped(TransportError)
        case failed(TransferFailure)
    }

    private var bodyBytes: Int { streams.reduce(0) { $0 &+ $1.bodyBytes } }

    private mutating func transfer(
        _ patience: Patience, _ start: MonotonicInstant, _ result: inout Result
    ) throws(LoadEnd) {
        let end = min(start.advanced(by: budget.duration), patience.deadline)
        var nextPoint = start.advanced(by: RateSeries.intervalMin)
        var nextRoundTrip = start
        while true {
            let now = MonotonicInstant.now()
            if now >= nextPoint {
                result.series.add(bodyBytes, at: now.since(start))
                nextPoint = now.advanced(by: RateSeries.intervalMin)
            }
            if now >= nextRoundTrip {
                sampleRoundTrips(at: now, &result)
                nextRoundTrip = now.advanced(by: Self.roundTripInterval)
            }
            if now >= end { return result.end = .time }
            let moved = streams.reduce(0) { $0 &+ $1.bodyBytesMoved }
            if moved >= budget.bytesMax { return result.end = .bytes }
            if streams.contains(where: \.isFinished) { return result.end = .connection }
            try step(until: min(nextPoint, end), patience, at: now)
        }
    }

    private mutating func step(
        until moment: MonotonicInstant, _ patience: Patience, at now: MonotonicInstant
    ) throws(LoadEnd) {
        let buffered = streams.map(\.mayHaveMore)
        let limit = buffered.contains(true) ? .zero : moment.since(now)
        let ready: [Interest]
        do throws(TransportError) {
            ready = try ConnectionPoll.wait(
                for: streams.map { ($0.connection, $0.interest) }, limit: limit,
                interrupt: patience.interrupt)
        } catch {
            throw .stopped(error)
        }
        for (index, stream) in streams.enumerated() {
            let all = buffered[index] ? ready[index].union(.reading) : ready[index]
            if all.isEmpty { continue }
            do throws(TransferFailure) { try stream.advance(all, &buffer) } catch {
                throw .failed(error)
            }
        }
    }

    private func sampleRoundTrips(at now: MonotonicInstant, _ result: inout Result) {
        for stream in streams {
            let statistics = stream.connection.statistics
            // Who only receives has nothing acknowledged to time, so the receiving side's estimate is taken.
            let roundTrip =
                direction == .upload ? statistics?.roundTrip : statistics?.receiverRoundTrip
            if let roundTrip { result.roundTrips.append((now, roundTrip)) }
        }
    }

    private func summarize(_ result: inout Result) {
        let all = streams.compactMap(\.connection.statistics)
        result.minimumRoundTrip = all.compactMap(\.minimumRoundTrip).min()
        switch direction {
        case .download:
            let counts = all.compactMap(\.packetsOutOfOrder)
            if !counts.isEmpty { result.packetsOutOfOrder = counts.reduce(0) { $0 + Int($1) } }
        case .upload:
            let sent = all.compactMap(\.bytesSent).reduce(0.0) { $0 + Double($1) }
            let again = all.compactMap(\.bytesRetransmitted).reduce(0.0) { $0 + Double($1) }
            if sent > 0 { result.retransmittedPercent = 100 * again / sent }
        }
    }

    /// Ends the uploads in good order and reads what the server says to them, for a while.
    private mutating func awaitAnswers(
        _ patience: Patience
    ) throws(TransportError) -> TransferFailure? {
        for stream in streams { stream.endUpload() }
        let end = patience.ending(by: .now().advanced(by: Self.answerPatience)).deadline
        while streams.contains(where: { !$0.isFinished }) {
            let now = MonotonicInstant.now()
            if now >= end { return nil }
            do throws(LoadEnd) { try step(until: end, patience, at: now) } catch {
                switch error {
                case .stopped(let error): throw error
                case .failed(let failure): return failure
                }
            }
        }
        return nil
    }
}
