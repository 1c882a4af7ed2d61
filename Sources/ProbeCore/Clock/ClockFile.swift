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
        let text = try? SmallFile.read("\(folder)/\(name)", bytesMax: bytesMax)
        let line = text?.split(separator: "\n").first
        let words = line?.split(separator: " ").map(String.init) ?? []
        guard words.count == 8, words[0] == name, words[1] == version,
            UInt64(words[2], radix: 16) == boot.value,
            words[7] == checksum(words.dropLast().joined(separator: " "))
        else { return nil }
        let numbers = words[3...6].compactMap { Int64($0) }
        guard numbers.count == 4, numbers[1] >= 0, numbers[2] >= 0, numbers[2] <= numbers[3],
            numbers[3] <= now.nanoseconds
        else { return nil }
        return ClockEstimate(
            offsetNanoseconds: numbers[0], halfWidthNanoseconds: numbers[1],
            from: BoottimeInstant(nanoseconds: numbers[2]),
            until: BoottimeInstant(nanoseconds: numbers[3]))
    }

    private static func checksum(_ line: String) -> String {
        String(XXHash64.hash(line), radix: 16)
    }
}
