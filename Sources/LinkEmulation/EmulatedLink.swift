internal import Synchronization

/// A wire between two network namespaces that delays, loses, doubles, reorders and limits packets as it is told to.
///
/// Each end is a TUN device with an IPv4 and an IPv6 address; packets go from one to the other through a thread of this
/// process, so nothing of the kernel's traffic control is needed. The link measures times with the monotonic clock; a
/// packet arrives at the moment that the settings give or as soon after it as the machine wakes the thread, which runs at a
/// real-time priority when it may (``runsFirst``).
///
/// All that is random comes from the seed: the n-th packet of a direction has the same fate in every run.
///
///     let link = try EmulatedLink(seed: 42)
///     defer { link.close() }
///     link.set(Impairment(delay: .milliseconds(25), loss: .independent(0.01)))
///     try await link.b.run { … serve … }
///     try await link.a.run { … connect to link.b.ipv4 … }
///
/// A namespace can be the end of several links; give each link a number of its own then.
package final class EmulatedLink: Sendable {
    /// A way over the link.
    package enum Direction: Int, Sendable, CaseIterable {
        case aToB, bToA
    }

    package let a: LinkEnd
    package let b: LinkEnd
    /// By the direction whose packets they take up.
    private let devices: [TunDevice]
    private let relay: Relay
    private let isClosed = Mutex(false)

    /// Joins two namespaces, at first without any impairment. Needs root and `/dev/net/tun`. Blocks, as ``close()`` does,
    /// for the tens of milliseconds that the kernel takes for devices.
    ///
    /// - Parameters:
    ///   - number: Decides on the addresses (``LinkAddresses``).
    ///   - seed: Decides on everything random.
    package init(
        between namespaceA: NetworkNamespace, and namespaceB: NetworkNamespace, number: Int = 0,
        seed: UInt64
    ) throws {
        let addresses = LinkAddresses(number: number)
        a = LinkEnd(
            namespace: namespaceA, device: "link\(number)a", ipv4: addresses.ipv4OfA,
            ipv6: addresses.ipv6OfA)
        b = LinkEnd(
            namespace: namespaceB, device: "link\(number)b", ipv4: addresses.ipv4OfB,
            ipv6: addresses.ipv6OfB)
        var made: [TunDevice] = []
        do {
            for end in [a, b] { made.append(try end.makeDevice()) }
            // Seeds of the two directions that have nothing to do with each other.
            relay = try Relay(
                name: "link \(number)", made, [seed, ~seed].map { DirectionModel(seed: $0) })
        } catch {
            for device in made { device.close() }
            throw error
        }
        devices = made
    }

    /// Joins two namespaces made for it.
    package convenience init(seed: UInt64) throws {
        try self.init(
            between: NetworkNamespace(named: "a"), and: NetworkNamespace(named: "b"), seed: seed)
    }

    deinit {
        close()
    }

    /// Removes the link with its devices, addresses and routes; what is on the way is lost. The namespaces stay, until
    /// nobody holds them. Does nothing the second time.
    package func close() {
        let isFirst = isClosed.withLock { isClosed in
            defer { isClosed = true }
            return !isClosed
        }
        guard isFirst else { return }
        relay.stop()
        for device in devices { device.close() }
    }

    /// Changes what a direction does, from the next packet on that the link takes up. What is on the wire arrives
    /// as it would have; what waits in the queue leaves it at the new rate.
    package func set(_ impairment: Impairment, _ direction: Direction) {
        relay.withModel(direction.rawValue) { $0.change(to: impairment, at: .now) }
        relay.wake()
    }

    /// Changes what both directions do.
    package func set(_ impairment: Impairment) {
        for direction in Direction.allCases { set(impairment, direction) }
    }

    /// What a direction does at present.
    package func impairment(_ direction: Direction) -> Impairment {
        relay.withModel(direction.rawValue) { $0.impairment }
    }

    /// What became of a direction's packets; all numbers are of one moment.
    package func counters(_ direction: Direction) -> LinkCounters {
        let device = devices[direction.rawValue]
        return isClosed.withLock { isClosed in
            var counters = relay.withModel(direction.rawValue) { $0.counters }
            counters.missed = isClosed ? nil : device.packetsLostBeforeReading()
            return counters
        }
    }

    /// Whether the link's thread runs before ordinary ones. If not, packets can be late on a busy machine.
    package var runsFirst: Bool { relay.runsFirst }
}

/// One end of a link: a device with its addresses, in a namespace.
package struct LinkEnd: Sendable {
    package let namespace: NetworkNamespace
    /// The name of the device in the namespace.
    package let device: String
    /// This end's own addresses, which the other end reaches.
    package let ipv4: String
    package let ipv6: String

    /// Runs `body` in the namespace; see ``NetworkNamespace/run(_:)-(()->_)``.
    @available(*, noasync, message: "await the other one, which blocks no cooperative thread")
    package func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) throws -> Value {
        try namespace.run(body)
    }

    /// Runs `body` in the namespace, on a thread on which it may block.
    package func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        try await namespace.run(body)
    }

    /// Sends packets for a prefix such as `198.18.0.4/30` over the link, until it is closed; `0.0.0.0/0` and `::/0` are
    /// everything.
    package func addRoute(to prefix: String) async throws {
        let device = device
        try await namespace.run {
            try Netlink().addRoute(to: AddressPrefix(prefix), over: device)
        }
    }

    func makeDevice() throws -> TunDevice {
        let (device, ipv4, ipv6) = (device, ipv4, ipv6)
        return try namespace.run {
            try TunDevice(
                name: device,
                addresses: [
                    "\(ipv4)/\(LinkAddresses.prefixLengthIPv4)",
                    "\(ipv6)/\(LinkAddresses.prefixLengthIPv6)",
                ])
        }
    }
}
