package import ServiceKit
internal import Telemetry

extension MeasurementPlan {
    /// The plan in a program's settings; what is wrong with them is added to `problems`.
    package init(_ settings: Settings, _ problems: inout [ConfigurationProblem]) {
        self.init(targets: [])
        for text in settings.strings("target") {
            do throws(TargetRefusal) { targets.append(try Target(text)) } catch {
                problems.append(settings.problem("target", "\(error)"))
            }
        }
        if settings.boolean("first-hop"), !targets.contains(where: { $0.name == Self.firstHop }),
            let target = try? Target("\(Self.firstHop) count=5")
        {
            targets.append(target)
        }
        // Twice the same name would be measured twice and counted as one.
        if Set(targets.map(\.name)).count < targets.count {
            problems.append(settings.problem("target", "names a target twice"))
        }
        interval = settings.duration("interval")
        spacing = Schedule.Spacing(rawValue: settings.string("schedule")) ?? .phase
        timeout = settings.duration("timeout")
        bodyBytesMax = settings.integer("max-body-bytes")
        inFlightMax = settings.integer("max-in-flight")
        if let hours = QuietHours(settings.strings("quiet-hours")) {
            quietHours = hours
        } else {
            problems.append(
                settings.problem("quiet-hours", "is not HH:MM-HH:MM, such as 22:00-06:00"))
        }
        trafficBytesPerDay = settings.optionalInteger("traffic-per-day")
        // Nothing is no bound: a probe that may use nothing is not started.
        cpuPercentMax = settings.optionalInteger("max-cpu-percent").map { Double($0) }
        for (name, member) in Self.contextTexts {
            guard let text = settings.optionalString(name) else { continue }
            context[keyPath: member] = Name(text)
            if text.utf8.count > EventLimits.contextBytesMax {
                let most = EventLimits.contextBytesMax
                problems.append(settings.problem(name, "is longer than \(most) bytes"))
            }
        }
        context.asn = settings.optionalInteger("asn").flatMap { UInt32(exactly: $0) }
    }

    private static let firstHop: Name = "first-hop"

    private typealias ContextMember = any WritableKeyPath<NetworkContext, Name?> & Sendable

    private static let contextTexts: [(String, ContextMember)] = [
        ("network-type", \.networkType), ("isp", \.isp), ("region", \.region),
    ]
}
