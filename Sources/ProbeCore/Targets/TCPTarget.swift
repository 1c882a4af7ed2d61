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
        family = try text.takeFamily()
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
}
