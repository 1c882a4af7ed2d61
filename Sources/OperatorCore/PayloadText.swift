internal import Blocks
internal import FoundationEssentials
internal import Telemetry

/// The bytes of a message for people, as far as they can be understood.
package enum PayloadText {
    /// Events of a block that are shown.
    private static let eventCountMax = 20
    /// Bytes of a text that are shown.
    private static let textBytesMax = 4096
    /// Bytes of anything else that are shown.
    private static let dumpBytesMax = 256

    /// Lines that say what `bytes` hold.
    package static func lines(of bytes: [UInt8]) -> [String] {
        if bytes.isEmpty { return ["nothing is left of it"] }
        if bytes.withUnsafeBytes({ BlockReader.claims($0) }) {
            do throws(BlockError) {
                return blockLines(try ValidatedBlock(bytes))
            } catch {
                return ["a block that cannot be read: \(error.reason) (\(error))"] + header(bytes)
                    + dump(bytes)
            }
        }
        if let text = String(validating: bytes.prefix(textBytesMax), as: UTF8.self),
            let first = text.first(where: { !$0.isWhitespace }), first == "{" || first == "[",
            !bytes.contains(0)
        {
            let rest = bytes.count > textBytesMax ? "… (\(bytes.count) bytes in all)" : ""
            return ["JSON:", printable(text, keepsLines: true) + rest]
        }
        return ["\(bytes.count) bytes that are neither a block nor JSON:"] + dump(bytes)
    }

    private static func blockLines(_ block: ValidatedBlock) -> [String] {
        block.withReader { reader in
            var lines = [
                "a block of \(reader.eventCount) events of partition \(reader.partition), number "
                    + "\(reader.blockNumber) of producer \(reader.producer)"
            ]
            for index in 0..<min(reader.eventCount, eventCountMax) {
                let received = reader.record(index).receivedAtMilliseconds
                lines.append("[\(index)] " + text(of: reader.event(index), received: received))
            }
            if reader.eventCount > eventCountMax {
                lines.append("… and \(reader.eventCount - eventCountMax) more")
            }
            return lines
        }
    }

    private static func text(of event: Event, received: Int64) -> String {
        var parts = [
            "event_id=\(event.id)", "client_id=\(printable(event.clientID.text))",
            "target=\(printable(event.target.text))",
            "ts=\(utcText(milliseconds: event.measuredAtMilliseconds))",
            "received=\(utcText(milliseconds: received))",
        ]
        if let sequence = event.sequence {
            parts.append("session_id=\(sequence.session) seq=\(sequence.number)")
        }
        if let stage = event.errorStage { parts.append("error_stage=\(stage.name)") }
        for metric in Metric.allCases {
            if let value = event.metrics[metric] {
                parts.append("\(metric.jsonName)=\(value.inUnit)")
            }
        }
        return parts.joined(separator: " ")
    }

    /// What the first fields of a damaged block say.
    private static func header(_ bytes: [UInt8]) -> [String] {
        guard bytes.count >= 24 else { return [] }
        func number(_ offset: Int, _ count: Int) -> UInt64 {
            (0..<count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[offset + $1]) }
        }
        return [
            "its header says: version \(number(4, 2)), partition \(number(6, 2)), "
                + "\(number(8, 4)) events, \(number(12, 4)) origins, \(number(16, 4)) strings; "
                + "it has \(bytes.count) bytes"
        ]
    }

    private static func dump(_ bytes: [UInt8]) -> [String] {
        var lines: [String] = []
        let shown = Array(bytes.prefix(dumpBytesMax))
        for start in stride(from: 0, to: shown.count, by: 16) {
            let row = shown[start..<min(start + 16, shown.count)]
            let digits = row.map { padded(String($0, radix: 16), to: 2, with: "0") }
            let text = row.map { (0x20...0x7E).contains($0) ? Character(UnicodeScalar($0)) : "." }
            let offset = padded(String(start, radix: 16), to: 8, with: "0")
            let hex = digits.joined(separator: " ")
            let gap = String(repeating: " ", count: 3 * 16 - hex.count)
            lines.append("\(offset)  \(hex)\(gap) |\(String(text))|")
        }
        if bytes.count > shown.count { lines.append("… \(bytes.count) bytes in all") }
        return lines
    }

    /// `text` without what would control a terminal.
    ///
    /// - Parameter keepsLines: Leaves line breaks in.
    package static func printable(_ text: String, keepsLines: Bool = false) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            let isControl =
                scalar.properties.generalCategory == .control
                || scalar.properties.generalCategory == .format
            result.append(isControl && !(keepsLines && scalar == "\n") ? "\u{FFFD}" : scalar)
        }
        return String(result)
    }
}

/// `text` with `filler` before it, at least `count` characters long.
private func padded(_ text: String, to count: Int, with filler: Character) -> String {
    String(repeating: filler, count: max(0, count - text.count)) + text
}

/// A time as `2026-03-01T12:00:05Z`, with milliseconds where it has any.
package func utcText(milliseconds: Int64) -> String {
    // Beyond what a calendar is good for.
    guard abs(Double(milliseconds)) < 8.64e15 else { return "\(milliseconds) ms" }
    let fraction = (milliseconds % 1000 + 1000) % 1000
    // Whole seconds: a fraction in a double would be cut to the millisecond before.
    let seconds = (milliseconds - fraction) / 1000
    let text = Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601)
    guard fraction > 0 else { return text }
    return text.dropLast() + "." + padded(String(fraction), to: 3, with: "0") + "Z"
}
