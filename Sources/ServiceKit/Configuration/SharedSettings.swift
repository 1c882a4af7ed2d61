internal import Logging

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
