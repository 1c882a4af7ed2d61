internal import Telemetry
internal import Transport

/// What is known of ingest's time, kept in the state folder for a restart in the same boot.
///
/// One line: `clock 1`, the boot, the estimate's four numbers, and XXH64 of all that, so that a line which a kill cut
/// short says nothing. It is not synchronised: a power cut ends the boot that it speaks of.
enum ClockFile {
    private static let name = "clock"
    private static let version = "1"
    private static let bytesMax = 1024

    /// Writes the estimate down; a folder that cannot be written costs the next run an exchange before it knows.
    static func write(_ estimate: ClockEstimate, _ boot: BootID, in folder: String) {
        let numbers = [
            estimate.offsetNanoseconds, estimate.halfWidthNanoseconds, estimate.from.nanoseconds,
            estimate.until.nanoseconds,
        ]
        let words = [name, version, String(boot.value, radix: 16)] + numbers.map { "\($0)" }
        let line = words.joined(separator: " ")
        try? SpoolFile.overwrite(
            "\(folder)/\(name)", with: Array("\(line) \(checksum(line))\n".utf8))
    }

    /// What an earlier run in this boot knew; nil when there is nothing of use.
    static func read(_ boot: BootID, at now: BoottimeInstant, in folder: String) -> ClockEstimate? {
        guard let (writer, numbers) = numbers(in: folder), writer == boot.value,
            numbers[1] >= 0, numbers[2] >= 0, numbers[2] <= numbers[3],
            numbers[3] <= now.nanoseconds
        else { return nil }
        return ClockEstimate(
            offsetNanoseconds: numbers[0], halfWidthNanoseconds: numbers[1],
            from: BoottimeInstant(nanoseconds: numbers[2]),
            until: BoottimeInstant(nanoseconds: numbers[3]))
    }

    /// The boot of whoever wrote the file, and the estimate's four numbers.
    private static func numbers(in folder: String) -> (boot: UInt64, numbers: [Int64])? {
        let text = try? SmallFile.read("\(folder)/\(name)", bytesMax: bytesMax)
        let line = text?.split(separator: "\n").first
        let words = line?.split(separator: " ").map(String.init) ?? []
        guard words.count == 8, words[0] == name, words[1] == version,
            let boot = UInt64(words[2], radix: 16),
            words[7] == checksum(words.dropLast().joined(separator: " "))
        else { return nil }
        let numbers = words[3...6].compactMap { Int64($0) }
        return numbers.count == 4 ? (boot, numbers) : nil
    }

    /// The newest time of ingest that any run has written down, Unix seconds; nil when there is none.
    ///
    /// Of an earlier boot that is the past: a bound below which the present cannot be.
    static func latestSeconds(in folder: String) -> Int64? {
        guard let numbers = numbers(in: folder)?.numbers else { return nil }
        let (latest, overflow) = numbers[0].addingReportingOverflow(numbers[3])
        return overflow ? nil : latest / 1_000_000_000
    }

    private static func checksum(_ line: String) -> String {
        String(XXHash64.hash(line), radix: 16)
    }
}
