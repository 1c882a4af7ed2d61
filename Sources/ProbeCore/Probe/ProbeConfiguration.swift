package import ServiceKit
package import Telemetry

/// What a probe can be told.
package struct ProbeConfiguration: Sendable {
    package var plan: MeasurementPlan
    /// The base addresses of ingest, the preferred first.
    package var servers: [HTTPURL]
    /// The client's name; nil to use the one in the state folder.
    package var clientID: Name?
    package var stateFolder: String?
    package var tokenFile: String?
    package var token: String?
    /// PEM file with certificates to trust besides the system's.
    package var authorityFile: String?
    /// How much may wait for delivery.
    package var spool = SpoolLimits()
    package var pace = Delivery.Pace()
    package var labels: [String: String] = [:]

    package init(targets: [Target], servers: [HTTPURL]) {
        plan = MeasurementPlan(targets: targets)
        self.servers = servers
    }

    /// The configuration in a program's settings, or all that is wrong with them.
    package init(_ settings: Settings) throws(ConfigurationRefusal) {
        var problems: [ConfigurationProblem] = []
        plan = MeasurementPlan(settings, &problems)
        servers = []
        for text in settings.urls("ingest-url") {
            do throws(TargetRefusal) { servers.append(try HTTPURL(text)) } catch {
                problems.append(settings.problem("ingest-url", "\(error)"))
            }
        }
        if let text = settings.optionalString("client-id") {
            clientID = Name(text)
            if !ClientIdentity.isUsable(text) {
                let most = EventLimits.clientIDBytesMax
                problems.append(
                    settings.problem("client-id", "must have 1 to \(most) printable bytes"))
            }
        }
        for text in settings.strings("label") {
            let parts = text.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else {
                problems.append(settings.problem("label", "'\(text)' is not name=value"))
                continue
            }
            labels[String(parts[0])] = String(parts[1])
        }
        stateFolder = settings.optionalPath("state-dir")
        tokenFile = settings.optionalPath("token-file")
        token = settings.optionalString("token")
        if tokenFile != nil && token != nil {
            problems.append(settings.problem("token", "is set besides token-file; set one of them"))
        }
        authorityFile = settings.optionalPath("ca-file")
        spool = SpoolLimits(
            bytesMax: settings.integer("spool-max-bytes"),
            ageMax: settings.duration("spool-max-age"))
        pace.drainEventsPerSecond = settings.integer("drain-events-per-second")
        pace.drainOrder = DrainOrder(rawValue: settings.string("drain-order")) ?? .oldestFirst
        guard problems.isEmpty else { throw ConfigurationRefusal(problems: problems) }
    }

    /// All that is wrong with a program's settings beyond single values.
    package static func problems(in settings: Settings) -> [ConfigurationProblem] {
        do throws(ConfigurationRefusal) {
            _ = try ProbeConfiguration(settings)
            return []
        } catch {
            return error.problems
        }
    }

    /// A fingerprint of everything that decides what is measured and how, secrets left out.
    package var fingerprint: String {
        var parts =
            servers.map { "\($0)" } + ["\(plan)", "\(spool)", "\(pace)", authorityFile ?? ""]
        parts += labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        let digits = String(XXHash64.hash(parts.joined(separator: "\u{0}")), radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}

/// All that is wrong with a program's settings.
package struct ConfigurationRefusal: Error, Sendable {
    package let problems: [ConfigurationProblem]
}
