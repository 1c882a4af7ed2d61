internal import Glibc
package import Postgres
package import ServiceKit
package import Store

/// What can be set on an aggregator.
package struct AggregatorConfiguration: Sendable {
    package static let settings: [Setting] = [
        Setting(
            "nats-url", .urls(schemes: ["nats", "tls"]), default: "nats://127.0.0.1:4222",
            help: "The NATS servers to read from."),
        .natsUser, .natsPasswordFile,
        Setting(
            "postgres-url", .url(schemes: ["postgresql", "postgres"]),
            default: "postgresql://qoe@127.0.0.1:5432/telemetry",
            help: "The database, as a libpq URI; it may name several hosts, of which the one that "
                + "accepts writes is used. A password belongs into --postgres-password-file or "
                + "~/.pgpass."),
        .postgresPasswordFile,
        Setting(
            "instance-id", .string,
            help: "Names this instance to operators, and lets it take its partitions back at once "
                + "after a restart; no two may share one. Unless set, the host's name with the port "
                + "of --metrics-listen, or the process's number where that port is off or any."),
        Setting(
            "worker-threads", .integer(1...64), default: "2",
            help: "How many threads count events; partitions are divided among them."),
        Setting(
            "flush-interval", .durationIn(.milliseconds(100)...(.seconds(60))), default: "1s",
            help: "The least time between two transactions of a partition. Longer costs less and "
                + "shows later; more than a third of --lease counts as that."),
        Setting(
            "lease", .durationIn(.seconds(3)...(.seconds(300))), default: "10s",
            help: "How long a silent instance keeps its partitions before another may take them."),
        Setting(
            "cells-max", .integer(1000...100_000_000), default: "400000",
            help:
                "The most cells (client, target and minute) in memory, over all partitions: about "
                + "1 KB each. Reaching it writes and forgets rows; it drops nothing."),
        Setting(
            "recent-ids-max", .integer(1000...1_000_000_000), default: "4000000",
            help: "The most identifiers remembered of events without a sequence number, over all "
                + "partitions: about 100 bytes each. With more of them in 15 minutes, repetitions "
                + "of the oldest count again, which a metric shows."),
        Setting(
            "trim-interval", .durationIn(.milliseconds(100)...(.seconds(3600))), default: "60s",
            help: "How often the streams are looked at: one that is half full loses the oldest of "
                + "what all partitions have committed, since a full one refuses new events."),
        Setting(
            "rollup-interval", .durationIn(.seconds(1)...(.seconds(86_400))), default: "5m",
            help: "How long a changed hour waits until agg_1h and agg_dim_1h follow, so that one "
                + "reading of its minutes serves many changes; days wait four times as long."),
        Setting(
            "retention-1m", .durationIn(.seconds(86_400)...(.seconds(36_500 * 86_400))),
            default: "30d",
            help: "How long minutes are kept, and a day longer; whole days are removed. Not "
                + "shorter than --retention of ingest, or what it lets in late may find its "
                + "minute gone and miss the hour."),
        Setting(
            "retention-1h", .durationIn(.seconds(86_400)...(.seconds(36_500 * 86_400))),
            default: "365d",
            help: "How long hours are kept; whole months are removed."),
        Setting(
            "retention-1d", .durationIn(.seconds(86_400)...(.seconds(36_500 * 86_400))),
            help: "How long days are kept; whole years are removed. Unless set, for ever."),
        Setting(
            "retention-ledgers", .durationIn(.seconds(31 * 86_400)...(.seconds(36_500 * 86_400))),
            default: "365d",
            help: "How long the sessions of a silent probe are known, by which its events are "
                + "recognised when they come again, and dead letters after they were forwarded."),
    ]

    /// How long a changed hour waits to be made again.
    package var rollupInterval: Duration
    package var retention: RetentionPolicy

    /// Over all partitions.
    package var cellCountMax: Int
    /// Over all partitions.
    package var recentIDCountMax: Int
    /// Between two looks at how full the streams are.
    package var trimInterval: Duration

    package var natsURLs: [String]
    /// Who logs in to NATS, and the file with the password; both or none.
    package var natsUser: String?
    package var natsPasswordFile: String?
    package var database: PostgresConnectionString
    package var instanceID: String
    package var workerCount: Int
    package var flushInterval: Duration
    package var lease: Duration

    /// Reads the settings, whose types, defaults and meanings are in ``settings``.
    package init(_ settings: Settings) throws(PostgresError) {
        natsURLs = settings.urls("nats-url")
        natsUser = settings.optionalString("nats-user")
        natsPasswordFile = settings.optionalPath("nats-password-file")
        database = try PostgresConnectionString(
            settings.url("postgres-url"), applicationName: "qoe-aggregator",
            passwordFile: settings.optionalPath("postgres-password-file"))
        instanceID = settings.optionalString("instance-id") ?? Self.standardInstanceID(settings)
        workerCount = settings.integer("worker-threads")
        flushInterval = settings.duration("flush-interval")
        lease = settings.duration("lease")
        cellCountMax = settings.integer("cells-max")
        recentIDCountMax = settings.integer("recent-ids-max")
        trimInterval = settings.duration("trim-interval")
        rollupInterval = settings.duration("rollup-interval")
        retention = RetentionPolicy(
            minutes: settings.duration("retention-1m"), hours: settings.duration("retention-1h"),
            days: settings.optionalDuration("retention-1d"),
            ledgers: settings.duration("retention-ledgers"))
    }

    /// The same after a restart, and another for each instance of a machine.
    private static func standardInstanceID(_ settings: Settings) -> String {
        let port = settings.optionalAddress("metrics-listen")?.port ?? 0
        return port > 0 ? "\(hostName):\(port)" : "\(hostName)#\(getpid())"
    }

    private static var hostName: String {
        var buffer = [UInt8](repeating: 0, count: 256)
        let status = buffer.withUnsafeMutableBytes { bytes -> Int32 in
            guard let start = bytes.baseAddress else { return -1 }
            return gethostname(start.assumingMemoryBound(to: CChar.self), bytes.count - 1)
        }
        let name = String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
        return status == 0 && !name.isEmpty ? name : "aggregator"
    }
}
