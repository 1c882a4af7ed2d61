internal import Logging

extension Setting {
    /// Where NATS is, for every program that talks to it.
    package static let natsURL = Setting(
        "nats-url", .urls(schemes: ["nats", "tls"]), default: "nats://127.0.0.1:4222",
        help: "NATS servers of one cluster. Name several, so that a start succeeds while one of"
            + " them is down.")

    /// Who logs in to NATS, for every program that talks to it.
    package static let natsUser = Setting(
        "nats-user", .string,
        help: "User that logs in to NATS with the password in --nats-password-file. Unless set,"
            + " nobody logs in.")

    /// Where the password for NATS is, for every program that talks to it.
    package static let natsPasswordFile = Setting(
        "nats-password-file", .path,
        help: "File that holds the password for NATS and nothing else, as containers mount secrets;"
            + " a line feed at its end does not count. Read again when NATS refuses the one before:"
            + " a changed password needs no restart.")

    /// Where PostgreSQL is, for every program that talks to it.
    package static let postgresURL = Setting(
        "postgres-url", .url(schemes: ["postgresql", "postgres"]),
        default: "postgresql://qoe@127.0.0.1:5432/telemetry",
        help: "PostgreSQL, as a libpq URI. Name several hosts with"
            + " target_session_attrs=read-write to follow a failover. Keep the password out of it:"
            + " --postgres-password-file, ~/.pgpass and PGPASSFILE are read.")

    /// Where the password for PostgreSQL is, for every program that talks to it.
    package static let postgresPasswordFile = Setting(
        "postgres-password-file", .path,
        help: "File that holds the password for PostgreSQL and nothing else, as containers mount"
            + " secrets; a line feed at its end does not count. Read anew for each connection:"
            + " a changed password needs no restart.")
}

extension Settings {
    /// What is wrong with how the program logs in to NATS; for programs with those two settings.
    package var natsLoginProblems: [ConfigurationProblem] {
        let names = [Setting.natsUser.name, Setting.natsPasswordFile.name]
        guard names.contains(where: isSet), let missing = names.first(where: { !isSet($0) })
        else { return [] }
        return [problem(missing, "is not set, and \(names.filter(isSet)[0]) cannot do without it")]
    }
}

/// The settings that every program has.
enum SharedSettings {
    static let config = Setting(
        "config", .path,
        help: "YAML file with settings: one 'name: value' per line, names as listed here.")

    static let logLevel = Setting(
        "log-level", .choice(Logger.Level.allCases.map(\.rawValue)), default: "info",
        isReloadable: true,
        help: "The least level that is logged. Raise it to debug to follow single requests.")

    static let logFormat = Setting(
        "log-format", .choice(LogFormat.allCases.map(\.rawValue)),
        help: "How log lines look: text for people, json (one object per line) for collectors."
            + " Text when standard error is a terminal, else json.")

    static let portFile = Setting(
        "port-file", .path,
        help: "File to write 'name=host:port' to, one line per listener, once all are bound."
            + " For scripts and tests that ask for port 0.")

    static let shutdownTimeout = Setting(
        "shutdown-timeout", .durationIn(.milliseconds(1)...(.seconds(3600))), default: "20s",
        help: "How long a graceful shutdown may take before the program ends anyway, with an"
            + " error that names what hung. Keep it below the supervisor's own limit.")

    static func metricsListen(default address: String) -> Setting {
        Setting(
            metricsListenName, .addressOrOff, default: address,
            help: "Address of the HTTP server for /health, /ready and /metrics, or off. Port 0"
                + " takes any free port, which is logged.")
    }

    static let metricsListenName = "metrics-listen"
}
