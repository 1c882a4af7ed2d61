package import Telemetry
package import Transport

/// Opens connections to HTTP servers and times every stage of doing so by itself.
package struct Dialer: Sendable {
    /// The most addresses of a name that are tried.
    package static let addressesMax = 8
    /// All that is spoken here.
    private static let applicationProtocol = "http/1.1"

    private let resolver: Resolver
    private let tls: TLSContext
    /// Gets what the connections cost; nil when nobody asks.
    package private(set) var traffic: TrafficCounter?

    package init(resolver: Resolver, tls: TLSContext) {
        self.resolver = resolver
        self.tls = tls
    }

    /// The same, with what its connections cost added to `traffic`.
    package func counting(in traffic: TrafficCounter) -> Dialer {
        var counting = self
        counting.traffic = traffic
        return counting
    }

    /// What is known about a connection while it is being made, and after.
    package struct Progress: Sendable {
        /// The stage that has begun: the one that failed, when dialling failed.
        package fileprivate(set) var stage = ErrorStage.dns
        /// The lookup's time; nil when the host was an address.
        package fileprivate(set) var dns: Duration?
        /// When connecting began, the lookup done; nil when it did not come to that.
        package fileprivate(set) var connectingSince: MonotonicInstant?
        /// The time of the TCP handshake that succeeded.
        package fileprivate(set) var tcp: Duration?
        /// The kernel's round-trip time of that handshake.
        package fileprivate(set) var roundTrip: Duration?
        /// The time of the TLS handshake; nil for plain HTTP.
        package fileprivate(set) var tls: Duration?
        /// The address that answered, or that was tried last.
        package fileprivate(set) var remoteAddress: SocketAddress?
        /// The addresses that the lookup gave; nil when the host was an address.
        package fileprivate(set) var addressesFound: Int?
        /// The addresses that were tried, the one that answered included.
        package fileprivate(set) var addressesTried = 0
        /// What the TLS handshake found, also when it failed; nil when it did not come to that.
        package fileprivate(set) var handshake: TLSHandshake?

        package init() {}
    }

    /// Looks the host up, connects and, for `https`, handshakes.
    ///
    /// The addresses are tried in the resolver's order, one after the other. Each gets an equal share of
    /// the time that is left, so that one silent address does not use up all of it.
    ///
    /// - Parameter family: The only family of addresses to try; nil for both.
    package func dial(
        _ url: HTTPURL, family: AddressFamily? = nil, _ patience: Patience,
        _ progress: inout Progress
    ) throws(TransportError) -> Connection {
        let addresses = try addresses(
            of: url.host, port: url.port, family, patience, &progress)
        return try open(url, addresses, patience, &progress)
    }

    /// Connects to an address that is known already and, for `https`, handshakes.
    package func dial(
        _ url: HTTPURL, at address: SocketAddress, _ patience: Patience,
        _ progress: inout Progress
    ) throws(TransportError) -> Connection {
        try open(url, [address], patience, &progress)
    }

    private func open(
        _ url: HTTPURL, _ addresses: [SocketAddress], _ patience: Patience,
        _ progress: inout Progress
    ) throws(TransportError) -> Connection {
        progress.stage = .tcp
        progress.connectingSince = .now()
        let connection = try connect(addresses, patience, &progress)
        guard url.isSecure else { return connection }
        progress.stage = .tls
        let started = MonotonicInstant.now()
        defer { progress.handshake = connection.tlsHandshake }
        try connection.startTLS(
            tls, serverName: url.host, applicationProtocol: Self.applicationProtocol, patience)
        progress.tls = MonotonicInstant.now().since(started)
        return connection
    }

    private func connect(
        _ addresses: [SocketAddress], _ patience: Patience, _ progress: inout Progress
    ) throws(TransportError) -> Connection {
        let candidates = addresses.prefix(Self.addressesMax)
        var lastError = TransportError(.nameNotFound, "no address to connect to")
        for (index, address) in candidates.enumerated() {
            let started = MonotonicInstant.now()
            let share = patience.remaining / (candidates.count - index)
            progress.remoteAddress = address
            progress.addressesTried += 1
            do throws(TransportError) {
                let connection = try Connection.open(
                    address, patience.ending(by: started.advanced(by: share)))
                progress.tcp = MonotonicInstant.now().since(started)
                connection.traffic = traffic
                progress.roundTrip = connection.roundTripTime
                return connection
            } catch {
                // The last address's error is told: the others were logged by nobody's wish.
                lastError = error
                if error.code == .interrupted { throw error }
            }
        }
        throw lastError
    }
}

extension Dialer {
    /// Looks a host up and connects to it; as ``dial(_:family:_:_:)``, without anything on top of TCP.
    package func connect(
        to host: Endpoint, port: UInt16, _ family: AddressFamily?, _ patience: Patience,
        _ progress: inout Progress
    ) throws(TransportError) -> Connection {
        let addresses = try addresses(of: host.host, port: port, family, patience, &progress)
        progress.stage = .tcp
        progress.connectingSince = .now()
        return try connect(addresses, patience, &progress)
    }

    /// A host's addresses of `family`, of both when it is nil, in the order in which to try them; at least one.
    package func addresses(
        of host: String, port: UInt16, _ family: AddressFamily?, _ patience: Patience,
        _ progress: inout Progress
    ) throws(TransportError) -> [SocketAddress] {
        let all: [SocketAddress]
        if let literal = SocketAddress(literal: host, port: port) {
            all = [literal]
        } else {
            progress.stage = .dns
            let answer = try resolver.addresses(of: host, port: port, patience)
            progress.dns = answer.finished.since(answer.started)
            progress.addressesFound = answer.addresses.count
            all = answer.addresses
        }
        guard let family else { return all }
        let wanted = all.filter { $0.family == family }
        guard !wanted.isEmpty else {
            throw TransportError(.nameNotFound, "\(host) has no \(family.rawValue) address")
        }
        return wanted
    }
}
