internal import CNamespaces
internal import Glibc
internal import OwnedThreads
internal import Synchronization

/// The thread that carries a link's packets from one device to the other, both ways.
final class Relay: Sendable {
    /// Packets of one direction that are taken up before due ones are looked for again.
    private static let packetsPerTurn = 32

    private let devices: [TunDevice]
    private let models: Mutex<[DirectionModel]>
    /// Wakes the thread.
    private let event: Int32
    private let isStopping = Atomic(false)
    private let isPunctual = Atomic(false)
    private let thread = Mutex<OwnedThread?>(nil)

    /// Carries what is read from the first device to the second by the first model, and the other way by the second.
    init(name: String, _ devices: [TunDevice], _ models: [DirectionModel]) throws {
        precondition(devices.count == 2 && models.count == 2, "a link has two ends")
        event = namespaces_open_event()
        guard event >= 0 else {
            throw LinkEmulationError.system(call: "eventfd", errno: errno)
        }
        self.devices = devices
        self.models = Mutex(models)
        let started = Monitor(false)
        let relay = OwnedThread(name: name) { [self] in
            isPunctual.store(LinkEmulation.makeCallingThreadPunctual(), ordering: .relaxed)
            started.update { $0 = true }
            var plan = WakePlan()
            while !isStopping.load(ordering: .acquiring) {
                let next = turn()
                let now = ContinuousClock.now
                waitForPackets(atMost: next.map { plan.sleep(until: $0, at: now) })
            }
        }
        thread.withLock { $0 = relay }
        _ = started.wait(until: nil) { $0 ? true : nil }
    }

    /// Whether the thread runs before ordinary ones; without that, a busy machine shows in the delays.
    var runsFirst: Bool { isPunctual.load(ordering: .relaxed) }

    func withModel<Result: Sendable>(_ direction: Int, _ body: (inout DirectionModel) -> Result)
        -> Result
    {
        models.withLock { body(&$0[direction]) }
    }

    /// Has the thread look again at what is due.
    func wake() {
        var one: UInt64 = 1
        _ = unsafe write(event, &one, MemoryLayout<UInt64>.size)
    }

    /// Ends the thread. What is on the way is lost. Called once.
    func stop() {
        isStopping.store(true, ordering: .releasing)
        wake()
        thread.withLock { $0 }?.join()
        close(event)
    }

    /// Takes up what has arrived and delivers what is due.
    ///
    /// - Returns: When something is due next.
    private func turn() -> ContinuousClock.Instant? {
        models.withLock { models in
            for index in models.indices {
                deliver(&models[index], to: devices[1 - index])
            }
            for index in models.indices {
                takeUp(&models[index], from: devices[index])
                // What is not delayed need not wait for the next turn.
                deliver(&models[index], to: devices[1 - index])
            }
            return models.compactMap(\.nextMoment).min()
        }
    }

    private func takeUp(_ model: inout DirectionModel, from device: TunDevice) {
        for _ in 0..<Self.packetsPerTurn {
            guard let packet = device.read() else { return }
            model.take(packet, at: .now)
        }
    }

    private func deliver(_ model: inout DirectionModel, to device: TunDevice) {
        let now = ContinuousClock.now
        while let packet = model.nextDue(at: now) {
            model.wasDelivered(device.write(packet), bytes: packet.count)
        }
    }

    /// Sleeps until a packet arrives, somebody wakes the thread, or `limit` has passed; nil is without limit.
    private func waitForPackets(atMost limit: Duration?) {
        var timeout: Int64 = -1
        if let limit {
            let (seconds, attoseconds) = limit.components
            timeout = min(seconds, Self.longestWaitSeconds) * 1_000_000_000
            timeout += attoseconds / 1_000_000_000
        }
        var sources = (devices.map(\.descriptor) + [event]).map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        guard unsafe namespaces_poll(&sources, sources.count, timeout) > 0,
            sources[2].revents != 0
        else { return }
        var count: UInt64 = 0
        _ = unsafe read(event, &count, MemoryLayout<UInt64>.size)
    }

    /// So that the timeout cannot overflow; a longer wait is made of several.
    private static let longestWaitSeconds: Int64 = 3600
}
