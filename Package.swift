// swift-tools-version: 6.2

import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

/// Targets that touch raw memory or C mark every dangerous line with `unsafe`.
let memorySafe: [SwiftSetting] = strict + [.strictMemorySafety()]

extension Target.Dependency {
    static let nioCore: Self = .product(name: "NIOCore", package: "swift-nio")
    static let nioPosix: Self = .product(name: "NIOPosix", package: "swift-nio")
    static let nioHTTP1: Self = .product(name: "NIOHTTP1", package: "swift-nio")
    static let nioSSL: Self = .product(name: "NIOSSL", package: "swift-nio-ssl")
    static let logging: Self = .product(name: "Logging", package: "swift-log")
    static let metrics: Self = .product(name: "CoreMetrics", package: "swift-metrics")
    static let lifecycle: Self = .product(
        name: "ServiceLifecycle", package: "swift-service-lifecycle")
    static let argumentParser: Self = .product(
        name: "ArgumentParser", package: "swift-argument-parser")
    static let systemPackage: Self = .product(name: "SystemPackage", package: "swift-system")
}

/// A library target; `safe` ones are compiled with strict memory safety.
func library(
    _ name: String, _ dependencies: [Target.Dependency] = [], safe: Bool = false
) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: safe ? memorySafe : strict)
}

/// An executable that parses its arguments, wires its core up and runs it.
func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ library: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: "\(library)Tests", dependencies: [.byName(name: library)] + dependencies,
        swiftSettings: strict)
}

let package = Package(
    name: "network-qoe-telemetry",
    products: [
        .executable(name: "probe", targets: ["probe"]),
        .executable(name: "ingest", targets: ["ingest"]),
        .executable(name: "aggregator", targets: ["aggregator"]),
        .executable(name: "diagnoser", targets: ["diagnoser"]),
        .executable(name: "qoectl", targets: ["qoectl"]),
        .library(name: "WallClockShift", type: .dynamic, targets: ["CWallClockShift"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // C boundaries: each module is imported by exactly one Swift target.
        .systemLibrary(
            name: "CNATS", pkgConfig: "libnats", providers: [.apt(["libnats-dev"])]),
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(
            name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .target(name: "CDigests", linkerSettings: [.linkedLibrary("crypto")]),
        .target(
            name: "CEventParser", cxxSettings: [.unsafeFlags(["-O2"])],
            linkerSettings: [.linkedLibrary("simdjson")]),
        .target(name: "CNamespaces"),
        // Preloaded by tests into programs, and imported by none.
        .target(name: "CWallClockShift"),

        // The pure core: no I/O, no C, no clock, no randomness.
        library("Telemetry", safe: true),
        library("Sketches", ["Telemetry"], safe: true),
        library("Blocks", ["Telemetry"], safe: true),
        library("Windowing", ["Blocks", "Sketches", "Telemetry"], safe: true),
        library("Diagnosis", ["Telemetry"], safe: true),

        // An installation of several machines, from its hosts file.
        library("Deployment", ["CDigests", "OwnedThreads", "Spelling"], safe: true),

        // The two database servers of an installation: who is the primary, and how that changes.
        library("DatabaseFailover", ["Deployment"], safe: true),

        // What was probably meant by a name that nobody knows.
        library("Spelling", safe: true),

        // Named, joined threads and a lock to wait on, for blocking C calls.
        library("OwnedThreads", safe: true),

        // Places where a debug build can be killed by a test.
        .target(
            name: "Failpoints",
            swiftSettings: memorySafe + [.define("FAILPOINTS", .when(configuration: .debug))]),

        // Swift faces of the C clients; they know nothing of telemetry.
        library("NATSClient", ["CNATS", "OwnedThreads", "PasswordFiles"], safe: true),
        library("Postgres", ["CLibPQ", "Failpoints", "PasswordFiles"], safe: true),
        library("PasswordFiles", safe: true),

        // Sockets, names and TLS with deadlines, for whoever times the network itself.
        library("Transport", ["COpenSSL", "OwnedThreads"], safe: true),

        // Bodies in the gzip format, with bounds.
        library("Gzip", ["CZlib"], safe: true),

        // Configuration files.
        library("YAML", ["CYAML"], safe: true),

        // JSON to validated fields.
        library("EventParsing", ["Blocks", "CEventParser", "Telemetry"], safe: true),
        library("LogDecoding", ["Blocks", "EventParsing", "Telemetry"]),

        // Our subjects and messages; our schema and rows.
        library("Bus", ["Blocks", "Failpoints", "NATSClient", "OwnedThreads", "Telemetry"]),
        library("Store", ["Postgres", "Sketches", "Telemetry", "Windowing"]),

        // The log counted again by another path, to check the tables with; shares no counting code.
        library("Recount", ["Blocks", "LogDecoding", "Postgres", "Telemetry"]),

        // What every program shares, then each program's parts.
        library(
            "ServiceKit",
            [
                "OwnedThreads", "Spelling", "YAML", .lifecycle, .logging, .metrics, .nioCore,
                .nioHTTP1, .nioPosix, .systemPackage,
            ]),
        library(
            "ProbeCore",
            [
                "Gzip", "OwnedThreads", "ServiceKit", "Telemetry", "Transport", .lifecycle,
                .logging,
            ]),
        library(
            "IngestCore",
            [
                "Blocks", "Bus", "CDigests", "EventParsing", "Failpoints", "Gzip",
                "NATSClient", "OwnedThreads", "ServiceKit", "Telemetry", .lifecycle, .logging,
                .metrics, .nioCore, .nioHTTP1, .nioPosix, .nioSSL, .systemPackage,
            ]),
        library(
            "AggregatorCore",
            [
                "Blocks", "Bus", "EventParsing", "Failpoints", "LogDecoding", "NATSClient",
                "Postgres", "ServiceKit", "Store", "Telemetry", "Windowing", .logging, .metrics,
            ]),
        library(
            "DiagnoserCore",
            [
                "Diagnosis", "Postgres", "ServiceKit", "Store", "Telemetry", "Windowing", .logging,
                .metrics,
            ]),

        // The embedded default: private servers, a target with settable faults, the local stack.
        library("PrivateServers", ["OwnedThreads", "Postgres"]),
        library("TargetServing", ["OwnedThreads", "Transport"]),
        library(
            "LocalStack",
            ["IngestCore", "Postgres", "PrivateServers", "Store", "TargetServing"]),

        library(
            "OperatorCore",
            [
                "AggregatorCore", "Blocks", "Bus", "LogDecoding", "NATSClient", "OwnedThreads",
                "Postgres", "PrivateServers", "Recount", "Store", "Telemetry",
            ]),

        program("probe", ["ProbeCore", "ServiceKit"]),
        program("ingest", ["IngestCore", "ServiceKit"]),
        program("aggregator", ["AggregatorCore", "ServiceKit"]),
        program("diagnoser", ["DiagnoserCore", "ServiceKit"]),
        program(
            "qoectl",
            [
                "AggregatorCore", "Bus", "DatabaseFailover", "Deployment", "IngestCore",
                "LocalStack", "NATSClient", "OperatorCore", "OwnedThreads", "Postgres",
                "ServiceKit", "Store", "Telemetry", "Transport", .argumentParser,
            ]),

        // In this package, and not in one of its own, because it measures what only this package sees.
        .executableTarget(
            name: "benchmarks",
            dependencies: [
                "Blocks", "Bus", "EventParsing", "IngestCore", "NATSClient", "OwnedThreads",
                "Postgres", "PrivateServers", "Sketches", "Store", "Telemetry", "TestKit",
                "Windowing",
            ],
            path: "Benchmarks", swiftSettings: strict, linkerSettings: [.linkedLibrary("m")]),

        // Decides whether libnats may speak TLS itself: Scripts/soak-tls.
        program(
            "natssoak",
            ["Bus", "NATSClient", "OwnedThreads", "Telemetry", "TestKit", .argumentParser]),

        // What tests of several targets share; nothing above but the benchmarks and the soak imports it.
        library(
            "TestKit", ["NATSClient", "OwnedThreads", "Postgres", "PrivateServers", "Telemetry"]),

        // Wires between network namespaces with set delay, loss and rate, to prove measurements against.
        library("LinkEmulation", ["CNamespaces", "OwnedThreads", "TestKit"], safe: true),
        tests("LinkEmulation", ["OwnedThreads", "PrivateServers", "TestKit"]),

        // The aggregator's core under a seeded scheduler of crashes and losses.
        library(
            "Simulation",
            [
                "AggregatorCore", "Blocks", "LogDecoding", "OwnedThreads", "Sketches", "Store",
                "Telemetry", "TestKit", "Windowing",
                .logging, .metrics,
            ]),
        program("simulator", ["Simulation", .argumentParser]),
        tests("Simulation", ["TestKit"]),

        // Everything that reads foreign bytes, under seeded mutations of good ones.
        library("Fuzzing", ["Blocks", "EventParsing", "Gzip", "Telemetry", "TestKit"]),
        program("fuzzer", ["Fuzzing"]),
        tests("Fuzzing"),

        tests("Telemetry"),
        tests("YAML", ["TestKit"]),
        tests("TestKit", ["OwnedThreads", "Postgres", "PrivateServers"]),
        tests("ServiceKit", ["OwnedThreads", .lifecycle, .logging, .metrics]),
        tests("Sketches", ["Telemetry", "TestKit"]),
        tests("Blocks", ["Telemetry", "TestKit"]),
        tests("Deployment", ["OwnedThreads", "TestKit"]),
        .testTarget(
            name: "DatabaseFailoverTests",
            dependencies: [
                "DatabaseFailover", "Deployment", "PrivateServers", "TestKit", "Transport",
            ],
            // A stand-in for docker.
            exclude: ["Machines"], swiftSettings: strict),
        tests("Diagnosis", ["Telemetry"]),
        tests("Windowing", ["Blocks", "Sketches", "Telemetry", "TestKit"]),
        tests("EventParsing", ["Blocks", "Fuzzing", "Telemetry", "TestKit"]),
        tests("Gzip", ["TestKit"]),
        tests("OwnedThreads"),
        tests("PrivateServers", ["Postgres", "TestKit"]),
        tests("NATSClient", ["OwnedThreads", "PrivateServers", "TestKit"]),
        tests("Postgres", ["OwnedThreads", "PrivateServers", "TestKit"]),
        tests(
            "Store",
            [
                "OwnedThreads", "Postgres", "PrivateServers", "Sketches", "Telemetry", "TestKit",
                "Windowing",
            ]),
        tests(
            "Bus",
            ["Blocks", "Telemetry", "NATSClient", "OwnedThreads", "PrivateServers", "TestKit"]),
        tests(
            "IngestCore",
            [
                "Blocks", "Bus", "EventParsing", "Gzip", "NATSClient", "OwnedThreads",
                "PrivateServers", "ProbeCore", "ServiceKit", "Telemetry", "TestKit", "Transport",
                .logging, .nioCore, .nioPosix, .nioSSL,
            ]),
        tests(
            "Recount",
            [
                "Blocks", "LogDecoding", "OwnedThreads", "Postgres", "Sketches", "Store",
                "Telemetry", "TestKit", "Windowing",
            ]),
        // The queries of the documents.
        .testTarget(
            name: "DocumentationTests",
            dependencies: [
                "DiagnoserCore", "Postgres", "Store", "Telemetry", "TestKit", "Windowing",
            ],
            swiftSettings: strict),
        tests("LocalStack", ["OwnedThreads", "Postgres", "TestKit"]),
        tests(
            "AggregatorCore",
            [
                "Blocks", "Bus", "LogDecoding", "Store", "Telemetry", "TestKit", "Windowing",
                .logging, .metrics,
            ]),
        .testTarget(
            name: "OperatorCoreTests",
            dependencies: [
                "AggregatorCore", "Blocks", "Bus", "NATSClient", "OperatorCore", "OwnedThreads",
                "Postgres", "PrivateServers", "ServiceKit", "Store", "Telemetry", "TestKit",
                "Transport", "qoectl", .logging, .metrics,
            ],
            swiftSettings: strict),
        // The executables of all tiers together; named so that they are built.
        .testTarget(
            name: "PipelineTests",
            dependencies: [
                "Blocks", "Bus", "Failpoints", "IngestCore", "NATSClient", "OwnedThreads",
                "Postgres", "PrivateServers", "ProbeCore", "Store", "TargetServing", "Telemetry",
                "TestKit", "Transport", "aggregator", "ingest", "probe",
            ],
            swiftSettings: strict),
        tests("Transport", ["OwnedThreads", "TestKit"]),
        tests(
            "ProbeCore",
            [
                "Gzip", "OwnedThreads", "PrivateServers", "ServiceKit", "TargetServing",
                "Telemetry", "TestKit", "Transport", "probe", .logging,
            ]),
        // What the probe measures on a link against what is set there.
        .testTarget(
            name: "ProbeProofTests",
            dependencies: [
                "LinkEmulation", "OwnedThreads", "ProbeCore", "TargetServing", "Telemetry",
                "TestKit", "Transport",
            ],
            swiftSettings: strict),
    ],
    cxxLanguageStandard: .cxx17
)
