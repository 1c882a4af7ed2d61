import ServiceKit

/// One setting of every kind.
let sampleSettings = [
    Setting("listen", .address, default: "0.0.0.0:8080", help: "Address of the API."),
    Setting("client-id", .string, help: "Who this is."),
    Setting("label", .strings, help: "Labels."),
    Setting("workers", .integer(1...64), default: "4", help: "Threads."),
    Setting("ratio", .number(0...1), default: "0.5", help: "A share."),
    Setting("batch-bytes", .byteCount(1024...(1 << 30)), default: "64KiB", help: "Size."),
    Setting("interval", .duration, default: "30s", help: "Time between two."),
    Setting("linger", .durationIn(.zero ... .seconds(60)), default: "5ms", help: "Wait."),
    Setting("monitor", .addressOrOff, default: "off", help: "Where to monitor."),
    Setting("dry-run", .boolean, help: "Change nothing."),
    Setting("mode", .choice(["fast", "safe"]), default: "safe", help: "How."),
    Setting("tokens-file", .path, help: "Tokens."),
    Setting("token", .string, isSecret: true, help: "A secret."),
    Setting(
        "target", .urls(schemes: ["http", "https"]), environment: ["QOE_TARGETS", "QOE_TARGET"],
        help: "Measured."),
    .natsURL, .postgresURL,
    Setting("config", .path, help: "The file."),
]

/// Loads the sample settings.
func load(
    _ arguments: [String] = [], environment: [String: String] = [:],
    settings: [Setting] = sampleSettings
) -> SettingsLoader.Result {
    SettingsLoader(settings: settings, arguments: arguments, environment: environment).load()
}
