package import PrivateServers

/// Runs `body` with a private nats-server in a temporary folder; both are gone afterwards.
///
/// - Parameter configure: Changes the settings before the start.
@discardableResult
package func withNATSServer<Result>(
    configure: (inout NATSServer.Settings) -> Void = { _ in },
    _ body: (NATSServer) throws -> Result
) throws -> Result {
    try withTemporaryFolder { folder in
        var settings = NATSServer.Settings(dataFolder: "\(folder)/nats")
        configure(&settings)
        let server = try NATSServer(settings)
        defer { try? server.kill() }
        return try body(server)
    }
}

/// Runs `body` with a private nats-server in a temporary folder; both are gone afterwards.
@discardableResult
package func withNATSServer<Result>(
    configure: (inout NATSServer.Settings) -> Void = { _ in },
    _ body: (NATSServer) async throws -> Result
) async throws -> Result {
    try await withTemporaryFolder { folder in
        var settings = NATSServer.Settings(dataFolder: "\(folder)/nats")
        configure(&settings)
        let server = try NATSServer(settings)
        defer { try? server.kill() }
        return try await body(server)
    }
}
