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
            "postgres-reader-url", .url(schemes: ["postgresql", "postgres"]),
            help: "Where minutes are read, such as the same hosts with "
                + "target_session_attrs=prefer-standby, so that the primary has no work with it; "
                + "labels are written to --postgres-url. Unless set, they are read there."),
        Setting(
            "interval", .durationIn(.milliseconds(100)...(.seconds(3600))), default: "1s",
            help: "The time between two looks for minutes that changed."),
    ]

    package var database: PostgresConnectionString
    /// Where minutes are read; nil for ``database``.
    package var reader: PostgresConnectionString?
    /// The time between two rounds.
    package var interval: Duration

    /// Reads the settings, whose types, defaults and meanings are in ``settings``.
    package init(_ settings: Settings) throws(PostgresError) {
        func address(_ url: String) throws(PostgresError) -> PostgresConnectionString {
            try PostgresConnectionString(
                url, applicationName: "qoe-diagnoser",
                passwordFile: settings.optionalPath("postgres-password-file"))
        }
        database = try address(settings.url("postgres-url"))
        if let url = settings.optionalURL("postgres-reader-url") { reader = try address(url) }
        interval = settings.duration("interval")
    }
}
