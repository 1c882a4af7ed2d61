package import ServiceKit

/// What an operator can set of a probe.
package enum ProbeSettings {
    /// All settings of `probe`.
    package static let all =
        [
            target, ingestURL, tokenFile, token, clientID, stateDirectory, firstHop, interval,
            schedule,
        ]
        + measuring
        + [
            maxInFlight, trafficPerDay, maxCPUPercent, quietHours, spoolMaxBytes, spoolMaxAge,
            drainEventsPerSecond, drainOrder, networkType,
            isp, asn, region, label,
        ]

    /// The settings that decide how one measurement is made.
    package static let measuring = [timeout, maxBodyBytes, authorityFile]

    static let target = Setting(
        "target", .strings, environment: ["QOE_TARGETS"], isRequired: true,
        isReloadable: true,
        help: "What to measure: an address (http, https, dns, tcp, icmp, udp, download+https,"
            + " upload+https, loaded+https, first-hop) and options as name=value behind it, between"
            + " spaces, such as 'icmp://192.0.2.1 count=20 interval=1m'.")

    static let ingestURL = Setting(
        "ingest-url", .urls(schemes: ["http", "https"]), isRequired: true,
        help: "Where to post events: base addresses of ingest, the preferred first. The next one"
            + " takes over when one fails, and gives way again 10 min later.")

    static let tokenFile = Setting(
        "token-file", .path,
        help: "File with the token for ingest; only the probe's user should be able to read it."
            + " Read again when ingest does not know the token.")

    static let token = Setting(
        "token", .string, isSecret: true,
        help: "The token itself. Prefer a file: command lines and environments are seen by others.")

    static let clientID = Setting(
        "client-id", .string,
        help: "The probe's name in all its events, at most 255 bytes. Without it, one is made once"
            + " and kept in the state folder.")

    static let stateDirectory = Setting(
        "state-dir", .path,
        help: "Folder for what must outlive the probe, such as events that wait for delivery; each"
            + " probe needs one of its own. Default: /var/lib/qoe-probe for root,"
            + " else $XDG_STATE_HOME/qoe-probe or ~/.local/state/qoe-probe.")

    static let firstHop = Setting(
        "first-hop", .boolean, default: "true", isReloadable: true,
        help:
            "Whether the default gateway is measured too, as the target 'first-hop': it tells a bad"
            + " network on this side from a bad target. To choose how, give the target yourself, such"
            + " as 'first-hop count=20 interval=1m'.")

    static let interval = Setting(
        "interval", .durationIn(.milliseconds(100)...(.seconds(86400))), default: "10s",
        isReloadable: true,
        help: "The time between two measurements of one target. When in it a target is measured"
            + " follows from its name and the probe's, so that probes do not herd.")

    static let schedule = Setting(
        "schedule", .choice(Schedule.Spacing.allCases.map(\.rawValue)), default: "phase",
        isReloadable: true,
        help:
            "How a target's measurements lie in time: phase puts them at fixed moments that differ"
            + " from probe to probe; poisson gives them exponentially distributed gaps, so that"
            + " nothing periodic can hide between them.")

    static let timeout = Setting(
        "timeout", .durationIn(.milliseconds(10)...(.seconds(600))), default: "10s",
        isReloadable: true, help: "How long one measurement may take; it may exceed the interval.")

    static let maxBodyBytes = Setting(
        "max-body-bytes", .byteCount(1...(1 << 40)), default: "16MiB",
        isReloadable: true,
        help: "The byte budget of one measurement: a longer body is left, and has no total time.")

    static let authorityFile = Setting(
        "ca-file", .path,
        help: "PEM file with certificates to trust besides the system's.")

    static let maxInFlight = Setting(
        "max-in-flight", .integer(1...256), default: "32",
        isReloadable: true,
        help: "The most measurements at once; what is due beyond is skipped and counted.")

    static let trafficPerDay = Setting(
        "traffic-per-day", .byteCount((1 << 20)...(1 << 50)),
        isReloadable: true,
        help: "The most bytes that measurements may cause in a day, both ways, such as 500MiB."
            + " It comes back evenly; a target that takes more than is left is skipped and counted."
            + " Without it there is no bound.")

    static let maxCPUPercent = Setting(
        "max-cpu-percent", .integer(1...100), default: "10",
        isReloadable: true,
        help: "The most CPU that the probe may use, percent of one core over five minutes; beyond"
            + " it, measurements are skipped and counted.")

    static let quietHours = Setting(
        "quiet-hours", .strings,
        isReloadable: true,
        help: "When nothing is measured, such as 22:00-06:00, by this machine's time zone; may be"
            + " given several times. Delivery and heartbeats go on.")

    static let spoolMaxBytes = Setting(
        "spool-max-bytes", .byteCount(SpoolLimits.bytesMin...(1 << 30)), default: "64MiB",
        help: "The room on disk for events that wait for delivery, about half a kilobyte each;"
            + " beyond it the oldest are dropped, counted, and noted by number.")

    static let spoolMaxAge = Setting(
        "spool-max-age", .durationIn(.seconds(60)...(.seconds(3650 * 86_400))), default: "30d",
        help:
            "Events measured longer ago are dropped, counted and noted instead of posted. Set it to"
            + " ingest's --retention, beyond which ingest refuses them.")

    static let drainEventsPerSecond = Setting(
        "drain-events-per-second", .integer(1...100_000), default: "50",
        help:
            "How fast events go that have waited for more than a minute, as after an outage. Fresh"
            + " ones go before them and are not held to it.")

    static let drainOrder = Setting(
        "drain-order", .choice(DrainOrder.allCases.map(\.rawValue)), default: "oldest-first",
        help: "Which of the events that have waited for more than a minute go first.")

    static let networkType = Setting(
        "network-type", .string, isReloadable: true,
        help: "The kind of network, such as wifi, ethernet, cellular.")

    static let isp = Setting(
        "isp", .string, isReloadable: true, help: "The provider of the network.")

    static let asn = Setting(
        "asn", .integer(0...4_294_967_295), isReloadable: true,
        help: "The number of the network's autonomous system.")

    static let region = Setting("region", .string, isReloadable: true, help: "Where the probe is.")

    static let label = Setting(
        "label", .strings, isReloadable: true,
        help: "name=value, shown in the fleet; may be given several times.")
}
