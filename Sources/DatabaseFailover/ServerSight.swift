/// What was found of one of the two database servers.
package struct ServerSight: Sendable, Equatable {
    package enum Container: Sendable, Equatable {
        /// The machine could not be asked, for this reason.
        case unknown(String)
        case absent
        case stopped
        case running
    }

    /// What a server that answers says of itself.
    package struct Answer: Sendable, Equatable {
        package var isInRecovery: Bool
        package var timeline: UInt32
        package var systemIdentifier: String
        /// Of a primary where its log ends, of a replica up to where it has it.
        package var endOfLog: LogPosition
        /// Of a replica: whether it receives the log now.
        package var isReceiving = false
        /// Of a replica: seconds since the last commit that it shows.
        package var commitAgeSeconds: Int64?
        /// Of a primary, how it sends the log to the other server (`pg_stat_replication.state`); nil when not at all.
        package var sendingState: String?
        /// Of a primary: how long the other takes to write the log, in milliseconds; nil when nothing is under way.
        package var sendingLagMilliseconds: Int64?

        package init(
            isInRecovery: Bool, timeline: UInt32, systemIdentifier: String, endOfLog: LogPosition
        ) {
            self.isInRecovery = isInRecovery
            self.timeline = timeline
            self.systemIdentifier = systemIdentifier
            self.endOfLog = endOfLog
        }
    }

    /// A replica's last contact with its primary, as run.sh notes it every few seconds.
    package struct Contact: Sendable, Equatable {
        package let ageSeconds: Int64
        package let primaryEnd: LogPosition
        package let ownEnd: LogPosition

        package init(ageSeconds: Int64, primaryEnd: LogPosition, ownEnd: LogPosition) {
            self.ageSeconds = ageSeconds
            self.primaryEnd = primaryEnd
            self.ownEnd = ownEnd
        }

        var lagBytes: UInt64 { primaryEnd.distance(from: ownEnd) }
    }

    /// What its folder says while the server does not answer.
    package enum DataRole: Sendable, Equatable {
        case none, primary, replica
    }

    package let name: String
    package var container: Container
    package var dataRole = DataRole.none
    /// Nil when it does not answer, and ``silence`` says why.
    package var answer: Answer?
    package var silence: String?
    package var contact: Contact?
    /// The timeline of a newer primary that its folder remembers.
    package var fencedTimeline: UInt32?

    package init(name: String, container: Container) {
        self.name = name
        self.container = container
    }

    var isPrimary: Bool { answer.map { !$0.isInRecovery } ?? false }
    var isReplica: Bool { answer?.isInRecovery ?? false }

    /// Whether PostgreSQL says that it is on the way: soon it will be what it was.
    var isStarting: Bool {
        guard let silence else { return false }
        return ["starting up", "recovery mode", "not yet accepting"].contains(
            where: silence.contains)
    }

    /// In a few words, for people.
    package var summary: String {
        if let answer {
            let role = answer.isInRecovery ? "replica" : "primary"
            var text = "\(name): \(role), timeline \(answer.timeline), log up to \(answer.endOfLog)"
            if answer.isInRecovery {
                text += answer.isReceiving ? ", receiving" : ", not receiving"
            } else if let state = answer.sendingState {
                text += ", \(state) to the other"
                text += answer.sendingLagMilliseconds.map { " \($0) ms behind" } ?? ""
            }
            return text
        }
        switch container {
        case .unknown(let reason): return "\(name): its machine cannot be asked: \(reason)"
        case .absent: return "\(name): it has no container there"
        case .stopped: return "\(name): stopped, with \(dataText)"
        case .running:
            return "\(name): does not answer (\(silence ?? "no reason given")), with \(dataText)"
        }
    }

    private var dataText: String {
        switch dataRole {
        case .none: "no data"
        case .primary:
            fencedTimeline.map { "a primary's data, fenced by timeline \($0)" }
                ?? "a primary's data"
        case .replica: "a replica's data"
        }
    }
}

extension ServerSight {
    /// Reads what ``ServerScripts/look`` printed: lines of `key=value`; unknown ones are for newer readers.
    package init(name: String, report: String) {
        var values: [String: String] = [:]
        for line in report.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
        }
        switch values["container"] {
        case "absent": self.init(name: name, container: .absent)
        case "running": self.init(name: name, container: .running)
        case nil: self.init(name: name, container: .unknown("its report cannot be read"))
        default: self.init(name: name, container: .stopped)
        }
        dataRole =
            switch values["data"] {
            case "primary": .primary
            case "replica": .replica
            default: .none
            }
        fencedTimeline = values["fenced"].flatMap { UInt32($0) }
        contact = values["streamed"].flatMap {
            Contact($0, nowSeconds: values["now"].flatMap { Int64($0) })
        }
        answer = Answer(values)
        if answer == nil { silence = values["silence"].map(Self.reason) }
    }
}

extension ServerSight {
    /// What psql says, without where it was said.
    private static func reason(_ words: String) -> String {
        // There is no socket, or nobody behind it.
        if words.contains("No such file or directory") || words.contains("Connection refused") {
            return "PostgreSQL does not run"
        }
        let parts = words.split(separator: "failed: ", maxSplits: 1)
        return String(parts.last ?? "no reason given").trimmingSpaces
    }
}

extension String {
    fileprivate var trimmingSpaces: String {
        split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
    }
}

extension ServerSight.Contact {
    /// Reads what run.sh wrote: `seconds primary's-end own-end`.
    init?(_ text: String, nowSeconds: Int64?) {
        let words = text.split(separator: " ")
        guard words.count == 3, let nowSeconds, let seconds = Int64(words[0]),
            let primaryEnd = LogPosition(words[1]), let ownEnd = LogPosition(words[2])
        else { return nil }
        let (age, overflow) = nowSeconds.subtractingReportingOverflow(seconds)
        guard !overflow else { return nil }
        self.init(ageSeconds: max(0, age), primaryEnd: primaryEnd, ownEnd: ownEnd)
    }
}

extension ServerSight.Answer {
    init?(_ values: [String: String]) {
        guard let recovery = values["recovery"], let system = values["system"],
            let timeline = values["timeline"].flatMap({ UInt32($0) }),
            let end = values["end"].flatMap({ LogPosition($0) })
        else { return nil }
        self.init(
            isInRecovery: recovery == "true", timeline: timeline, systemIdentifier: system,
            endOfLog: end)
        isReceiving = values["receiver"] == "streaming"
        commitAgeSeconds = values["commit_age"].flatMap { Int64($0) }
        sendingState = values["sending"]
        sendingLagMilliseconds = values["sending_lag"].flatMap { Int64($0) }
    }
}
