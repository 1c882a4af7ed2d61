package import Transport

/// A port to connect to: `tcp://db.example:5432`.
package struct TCPTarget: Sendable, Hashable {
    package let host: Endpoint
    package let port: UInt16
    /// Only addresses of this family are tried; nil for both.
    package let family: AddressFamily?

    init(_ text: inout TargetText) throws(TargetRefusal) {
        host = try text.endpointAlone()
        guard let port = host.port else {
            throw TargetRefusal(text.address, "has no port; write tcp://host:port")
        }
        self.port = port
        family = try text.takeFamily(of: host)
    }
}

extension TargetText {
    /// The host and port of an address that has nothing behind them.
    func endpointAlone() throws(TargetRefusal) -> Endpoint {
        let rest = rest ?? ""
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard ["", "/"].contains(rest[authority.endIndex...]) else {
            throw TargetRefusal(address, "has something after its host and port")
        }
        return try Endpoint(authority, of: address)
    }

    /// The option `family` of a host, which is of one family already when it is an address.
    mutating func takeFamily(of host: Endpoint) throws(TargetRefusal) -> AddressFamily? {
        guard let family = try takeFamily() else { return nil }
        if let address = host.literalAddress(port: 0), address.family != family {
            throw TargetRefusal(
                self.address,
                "has the option family=\(family.rawValue) and an address of the other family")
        }
        return family
    }
}
