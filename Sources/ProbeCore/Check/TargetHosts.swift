internal import Transport

extension Target {
    /// The host that is contacted; nil for the first hop.
    var host: String? {
        switch method {
        case .http(let page): page.url.host
        case .dns(let question): question.resolver.host
        case .tcp(let port): port.host.host
        case .echo(let echo): echo.host.host
        case .firstHop: nil
        case .transfer(let load): load.url.host
        case .loaded(let load): load.url.host
        }
    }

    /// The only family of addresses that the target may have; nil for both.
    var family: AddressFamily? {
        let asked: AddressFamily? =
            switch method {
            case .http(let page): page.family
            case .dns: nil
            case .tcp(let port): port.family
            case .echo(let echo): echo.family
            case .firstHop: nil
            case .transfer(let load): load.family
            case .loaded(let load): load.family
            }
        return asked ?? host.flatMap { SocketAddress(literal: $0, port: 0)?.family }
    }
}
