package import Postgres
package import ServiceKit

/// What can be set on a diagnoser.
package struct DiagnoserConfiguration: Sendable {
    package static let settings: [Setting] = [
        Setting(
            "postgres-url", .url(schemes: ["postgresql", "postgres"]),
            default: "postgresql://qoe@127.0.0.1:5432/telemetry",
            help: "The database, as a libpq URI; it may name several hosts, of which the one that "
                + "accepts writes is used. A password belongs into --postgres-password-file or "
                + "~/.pgpass."),
        .postgresPasswordFile,
        Setting(
            "interval", .durationIn(.milliseconds(100)...(.seconds(3600))), default: "1s",
            help: "The time between two looks for minutes that changed."),
    ]

    package var database: PostgresConnectionString
    /// The time between two rounds.
    package var interval: Duration

    /// Reads the settings, whose types, defaults and meanings are in ``settings``.
    package init(_ settings: Settings) throws(PostgresError) {
        database = try PostgresConnectionString(
            settings.url("postgres-url"), applicationName: "qoe-diagnoser",
            passwordFile: settings.optionalPath("postgres-password-file"))
        interval = settings.duration("interval")
    }
}
