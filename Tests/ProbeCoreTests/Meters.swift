import TargetServing
import ProbeCore
import TestKit
import Telemetry
import Testing
import Transport

/// Measures with the defaults of a test.
func measure(
    _ target: String, timeout: Duration = .seconds(20), bodyBytesMax: Int = 16 << 20,
    authorityFile: String? = nil
) throws -> Measurement {
    let resolver = Resolver()
    defer { resolver.shutDown() }
    let meters = try makeMeters(
        resolver, timeout: timeout, bodyBytesMax: bodyBytesMax, authorityFile: authorityFile)
    switch meters.measure(try Target(target)) {
    case .measured(let measurement): return measurement
    case .notMeasured(let reason): throw NotMeasured(reason: reason)
    }
}

/// Meters with the defaults of a test.
func makeMeters(
    _ resolver: Resolver = Resolver(), timeout: Duration = .seconds(20),
    bodyBytesMax: Int = 16 << 20, authorityFile: String? = nil
) throws -> Meters {
    Meters(
        dialer: Dialer(
            resolver: resolver, tls: try TLSContext.client(authorityFile: authorityFile)),
        timeout: timeout, bodyBytesMax: bodyBytesMax, userAgent: "test")
}

struct NotMeasured: Error {
    let reason: String
}

/// A target server and the folder of its certificates.
final class LocalTarget: Sendable {
    private let server: TargetServer
    private let folder: String

    init(host: String = "127.0.0.1") throws {
        folder = try makeTemporaryFolder()
        server = try TargetServer(folder: folder, host: host)
    }

    func stop() {
        server.stop()
        removeFolder(folder)
    }

    var httpURL: String { server.httpURL }
    var httpsURL: String { server.httpsURL }
    var authorityFile: String { server.authorityFile }
    /// With a name that has to be looked up.
    var namedURL: String { httpURL.replacing("127.0.0.1", with: "localhost") }
    var namedSecureURL: String { httpsURL.replacing("127.0.0.1", with: "localhost") }
}

/// The time of a stage in ms; fails the test when it was not measured.
func value(_ metric: Metric, of measurement: Measurement) throws -> Double {
    try #require(measurement.metrics[metric], "\(metric) was not measured").inUnit
}

/// A detail's value; nil when it was not found.
func detail(_ name: String, of measurement: Measurement) -> MeasurementDetail.Value? {
    measurement.details.first { $0.name == name }?.value
}

/// A detail that is a number; fails the test when it was not found or is none.
func number(_ name: String, of measurement: Measurement) throws -> Double {
    switch try #require(detail(name, of: measurement), "there is no \(name)") {
    case .integer(let value): return Double(value)
    case .number(let value): return value
    case let value: throw NotMeasured(reason: "\(name) is \(value)")
    }
}

/// A detail that is a text; fails the test when it was not found or is none.
func text(_ name: String, of measurement: Measurement) throws -> String {
    guard case .text(let value) = try #require(detail(name, of: measurement)) else {
        throw NotMeasured(reason: "\(name) is no text")
    }
    return value
}

/// A folder with an authority's certificate and a server's, for these names.
struct Certificates {
    let authorityFile: String
    let serverTLS: TLSContext

    init(
        in folder: String, for names: [String], validFor: Duration = .seconds(3600),
        versionMax: TLSContext.Version = .tls13, groups: String? = nil,
        applicationProtocol: TLSContext.ApplicationProtocol? = nil
    ) throws {
        let authority = try LocalAuthority()
        authorityFile = "\(folder)/ca.pem"
        try authority.writeCertificate(to: authorityFile)
        try authority.issue(
            for: names, validFor: validFor, certificateFile: "\(folder)/server.pem",
            keyFile: "\(folder)/server.key")
        serverTLS = try TLSContext.server(
            certificateFile: "\(folder)/server.pem", keyFile: "\(folder)/server.key",
            versionMax: versionMax, groups: groups, applicationProtocol: applicationProtocol)
    }
}
