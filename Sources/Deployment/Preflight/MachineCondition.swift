/// What a machine offers to an installation, as it said.
package struct MachineCondition: Sendable, Equatable {
    package var system: String?
    package var cores: Int?
    package var capacity = MachineCapacity()
    /// Of those that our scripts need.
    package var missingCommands: [String] = []
    package var memoryKiB: Int?
    package var dockerVersion: String?
    /// Why docker does not answer.
    package var dockerProblem: String?
    package var composeVersion: String?
    /// Of the folder, or of the nearest one above it that is there.
    package var freeKiB: [String: Int] = [:]
    /// TCP ports on which something listens.
    package var listening: Set<UInt16> = []
    /// The name of what listens, where the machine tells it.
    package var owners: [UInt16: String] = [:]
    /// Running containers, by project and service.
    package var containers: Set<String> = []
    /// How its clock differs from ours; nil when it did not say.
    package var clock: ClockOffset?

    /// Reads the answer to ``PreflightScript``; what is not understood is left alone.
    package init(_ answer: String) {
        for line in answer.split(separator: "\n") {
            let parts = line.split(separator: "\t", omittingEmptySubsequences: false)
                .map(String.init)
            guard parts.count >= 2 else { continue }
            read(parts[0], parts[1], parts.count > 2 ? parts[2] : "")
        }
    }

    private mutating func read(_ word: String, _ value: String, _ more: String) {
        switch word {
        case "system": system = value.isEmpty ? nil : PrintableText.line(value)
        case "cores": cores = Int(value)
        case "processors", "open-files": capacity.read(word, value)
        case "missing": missingCommands.append(PrintableText.line(value))
        case "memory": memoryKiB = Int(value)
        case "docker": dockerVersion = PrintableText.line(value)
        case "docker-problem": dockerProblem = PrintableText.line(value)
        case "compose": composeVersion = value.isEmpty ? nil : PrintableText.line(value)
        case "container": containers.insert(value)
        case "free": if let free = Int(value) { freeKiB[more] = free }
        case "listens":
            if let port = Self.port(value, radix: 16) { listening.insert(port) }
        case "owner":
            // users:(("nginx",pid=12,fd=6))
            let parts = more.split(separator: "\"")
            if let port = Self.port(value, radix: 10), parts.count > 1 {
                owners[port] = PrintableText.line(String(parts[1]))
            }
        default: break
        }
    }

    private static func port(_ address: String, radix: Int) -> UInt16? {
        address.split(separator: ":").last.flatMap { UInt16($0, radix: radix) }
    }
}

/// How a machine's clock differs from ours.
package struct ClockOffset: Sendable, Hashable {
    /// Positive when the machine's clock is ahead.
    package let milliseconds: Int64
    /// The truth is within so much of it: half the round trip, and what the answer left out.
    package let uncertaintyMilliseconds: Int64

    package init(milliseconds: Int64, uncertaintyMilliseconds: Int64) {
        self.milliseconds = milliseconds
        self.uncertaintyMilliseconds = uncertaintyMilliseconds
    }

    /// From a question asked and answered by our clock, and the answer to `date +%s.%N`; nil when that is no time.
    ///
    /// A `date` without `%N` leaves out up to a second.
    init?(askedMilliseconds: Int64, answeredMilliseconds: Int64, answer: String) {
        let parts = answer.filter { $0 != "\n" && $0 != "\r" && $0 != " " }
            .split(separator: ".", maxSplits: 1)
        guard let first = parts.first, let seconds = Int64(first),
            case let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1000), !overflow
        else { return nil }
        var theirs = whole
        var unknown: Int64 = 0
        if parts.count == 2, parts[1].count >= 3, let part = Int64(parts[1].prefix(3)) {
            theirs = theirs &+ part
        } else {
            theirs = theirs &+ 500
            unknown = 500
        }
        let roundTrip = max(0, answeredMilliseconds &- askedMilliseconds)
        self.init(
            milliseconds: theirs &- askedMilliseconds &- roundTrip / 2,
            // Both were cut to milliseconds.
            uncertaintyMilliseconds: roundTrip / 2 + unknown + 1)
    }

    /// The least that the clocks differ.
    package var certainMilliseconds: UInt64 {
        let least = milliseconds.magnitude
        let unknown = uncertaintyMilliseconds.magnitude
        return least > unknown ? least - unknown : 0
    }
}
