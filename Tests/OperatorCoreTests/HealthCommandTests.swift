import Foundation
import ServiceKit
import TestKit
import Testing

@Suite struct HealthCommandTests {
    /// Serves health as every program does, while `body` runs with its address.
    private func serving(
        _ health: HealthRegistry, _ body: (NetworkAddress) throws -> Void
    ) async throws {
        let server = try await MetricsServer.start(
            on: NetworkAddress(host: "127.0.0.1", port: 0), setting: "metrics-listen",
            health: health, metrics: PrometheusRegistry())
        let result = Result { try body(server.address) }
        await server.stop()
        try result.get()
    }

    @Test func `a program that answers is healthy and one that waits is not ready`() async throws {
        try await serving(HealthRegistry(dependencies: ["bus"])) { address in
            let health = try Qoectl.run(["health", "\(address)"])
            #expect(health.code == 0, "\(health)")
            #expect(health.output.isEmpty && health.complaints.isEmpty)
            #expect(try Qoectl.run(["health", "localhost:\(address.port)"]).code == 0)

            let ready = try Qoectl.run(["health", "--ready", "\(address)"])
            #expect(ready.code == 1)
            #expect(ready.complaints.contains("answered 503"), "\(ready)")
            #expect(ready.complaints.contains(#""reason":"starting""#))
        }
    }

    @Test func `the port file says where the program listens`() async throws {
        try await serving(HealthRegistry()) { address in
            try withTemporaryFolder { folder in
                let file = "\(folder)/ports"
                let environment = ["QOE_PORT_FILE": file]
                let early = try Qoectl.run(["health"], environment: environment)
                #expect(early.code == 1)
                #expect(early.complaints.contains("does not listen yet"))
                try "api=0.0.0.0:8080\n".write(toFile: file, atomically: true, encoding: .utf8)
                let off = try Qoectl.run(["health"], environment: environment)
                #expect(off.code == 1)
                #expect(off.complaints.contains("--metrics-listen is off"))
                // On every address, so asked on loopback.
                try "metrics=0.0.0.0:\(address.port)\napi=0.0.0.0:8080\n"
                    .write(toFile: file, atomically: true, encoding: .utf8)
                #expect(try Qoectl.run(["health"], environment: environment).code == 0)
            }
        }
    }

    @Test func `a program that is gone is not healthy`() async throws {
        var gone: NetworkAddress?
        try await serving(HealthRegistry()) { gone = $0 }
        let outcome = try Qoectl.run(["health", "\(try #require(gone))"])
        #expect(outcome.code == 1)
        #expect(outcome.complaints.contains("refused"), "\(outcome)")
        #expect(try Qoectl.run(["health", "nonsense"]).code == 64)
    }
}
